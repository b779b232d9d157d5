"""The frequency domain: differentiable spectra (``transforms``), and profiles and bands as statistics (``profiles``)."""
