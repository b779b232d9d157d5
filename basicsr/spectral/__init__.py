"""The frequency domain: differentiable spectra (``transforms``), profiles and bands as statistics (``profiles``)."""
