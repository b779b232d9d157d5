"""Frequency bands: ring-shaped masks over a spectrum, filtering by them, and the magnitude error inside them.

All functions work on the half spectrum that ``rfft2`` returns. A mask over the full spectrum that is not symmetric
about zero frequency (the published one) acts on a real image, once the imaginary part is dropped, exactly as the
average of itself and its mirror image; so a half spectrum of weights in {0, 1/2, 1} describes either convention.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from basicsr.spectral import BORDERS, MASK_CONVENTIONS, MaskConvention
from basicsr.spectral.rings import half_frequencies
from basicsr.utils.errors import check_choice

TABLE_EDGES = (0.0, *BORDERS, 1.0)
"""Edges of the bands of the paper's Table 1."""


def check_edges(edges: Sequence[float]) -> tuple[float, ...]:
    """Returns band edges as floats.

    Raises:
        ValueError: If there are fewer than two, they do not increase, or they leave [0, 1].
    """
    values = tuple(float(edge) for edge in edges)
    if len(values) < 2 or values[0] < 0 or values[-1] > 1 or not all(a < b for a, b in itertools.pairwise(values)):
        raise ValueError(f"band edges must be at least two numbers that increase from 0 to 1 at most; got {values}")
    return values


def even_edges(count: int) -> tuple[float, ...]:
    """Edges of ``count`` bands of equal width over [0, 1].

    Raises:
        ValueError: If ``count`` is below 1.
    """
    if count < 1:
        raise ValueError(f"number of bands must be 1 or more; got {count}")
    return tuple(index / count for index in range(count + 1))


def _centre_distance(height: int, width: int, device: torch.device | None = None) -> Tensor:
    """Distance (H, W) in bins from the geometric centre ((H-1)/2, (W-1)/2) of a shifted spectrum; float64.

    For even sizes that centre lies half a bin beside zero frequency: the published geometry.
    """
    rows = torch.arange(height, dtype=torch.float64, device=device)[:, None] - (height - 1) / 2
    columns = torch.arange(width, dtype=torch.float64, device=device) - (width - 1) / 2
    return (rows.square() + columns.square()).sqrt()


@lru_cache(maxsize=2)
def _band_indices(
    height: int, width: int, edges: tuple[float, ...], convention: MaskConvention, closed: bool
) -> Tensor:
    """Band number (2, H, W//2+1) of every bin of the half spectrum and of its mirror bin; number of bands = in none.

    Radii are compared with ``edges`` times the distance called 1. ``published``: in bins, from the geometric centre.
    ``symmetric``: in cycles per pixel from zero frequency, so that a band means the same detail at every image size and
    aspect; 1 is the diagonal Nyquist frequency.
    """
    check_choice("mask convention", convention, MASK_CONVENTIONS)
    rows, columns = half_frequencies(height, width)
    if convention == "symmetric":
        # A radius that rounding puts a hair below an edge belongs above it.
        radii = (torch.hypot(rows / height, columns / width) * (1 + 1e-12)).repeat(2, 1, 1)
        full = math.sqrt(0.5)
    else:
        distance = _centre_distance(height, width)
        places = [((sign * rows + height // 2) % height, (sign * columns + width // 2) % width) for sign in (1, -1)]
        radii, full = torch.stack([distance[y.long(), x.long()] for y, x in places]), float(distance[0, 0])
    bounds = torch.tensor(edges, dtype=torch.float64) * full
    # A radius below the first edge lies in no band, as one beyond the last: -1 becomes the number of bands.
    index = (torch.searchsorted(bounds, radii, right=True) - 1) % len(edges)
    if closed:
        # Rounding may leave the corner an ulp beyond the last edge; nothing lies farther when that edge is 1.
        last = torch.isclose(radii, bounds[-1], rtol=1e-12, atol=0) | (radii >= bounds[-1] if edges[-1] == 1 else False)
        index[last] = len(edges) - 2
    return index


def make_band_masks(
    height: int,
    width: int,
    edges: Sequence[float],
    convention: MaskConvention = "symmetric",
    closed: bool | None = None,
) -> Tensor:
    """Weights of every band on the half spectrum.

    Args:
        height: Image height in pixels.
        width: Image width in pixels.
        edges: Increasing, fractions of the highest (corner) frequency; band i is ``edges[i] <= r < edges[i+1]``.
        convention: ``symmetric`` about zero frequency, or the ``published`` geometry (see ``mask_out``).
        closed: Whether the last band includes its upper edge; by default it does, but not with ``published``.

    Returns:
        (bands, H, W//2+1) float32 in {0, 1/2, 1}; multiply with ``rfft2`` of an image and invert with ``irfft2``.
    """
    closed = convention == "symmetric" if closed is None else closed
    index = _band_indices(height, width, check_edges(edges), convention, closed)
    bands = torch.arange(len(edges) - 1)[:, None, None, None]
    return (index == bands).to(torch.float32).mean(dim=1)


def remove_bands(x: Tensor, masks: Tensor, out: Tensor | None = None) -> Tensor:
    """Images without one band each.

    Args:
        x: (B, C, H, W) in [0, 1].
        masks: (K, H, W//2+1) from :func:`make_band_masks`.
        out: Where the result is written, (B, K, C, H, W).

    Returns:
        (B, K, C, H, W), clamped to [0, 1].
    """
    return _filter(x, 1 - masks, out)


def add_band_noise(x: Tensor, noise: Tensor, masks: Tensor, out: Tensor | None = None) -> Tensor:
    """Images with the part of ``noise`` that lies in one band added to each.

    Args:
        x: (B, C, H, W) in [0, 1].
        noise: (B, C, H, W) white noise in the same units.
        masks: (K, H, W//2+1) from :func:`make_band_masks`.
        out: Where the result is written, (B, K, C, H, W).

    Returns:
        (B, K, C, H, W), clamped to [0, 1].
    """
    return _filter(noise, masks, out, x[:, None])


def _filter(x: Tensor, weights: Tensor, out: Tensor | None, base: Tensor | None = None) -> Tensor:
    """Each band of ``x``, added to ``base`` if there is one, clamped to [0, 1]."""
    batch, bands = len(x), len(weights)
    out = x.new_empty(batch, bands, *x.shape[1:]) if out is None else out
    spectrum, weights = torch.fft.rfft2(x), weights.to(x.device, x.dtype)
    # A CPU is three times as fast band by band: the spectra of all bands together leave its caches.
    step = 1 if x.device.type == "cpu" else bands
    for start in range(0, bands, step):
        product = spectrum[:, None] * weights[None, start : start + step, None]
        part = torch.fft.irfft2(product, s=x.shape[-2:])
        out[:, start : start + step] = (part if base is None else part.add_(base)).clamp_(0, 1)
    return out


def compute_band_rmse(
    gt: Tensor,
    sr: Tensor,
    edges: Sequence[float] = TABLE_EDGES,
    convention: MaskConvention = "published",
    closed: bool = True,
) -> Tensor:
    """Root mean square difference of Fourier magnitudes inside each band (Table 1 of arXiv 2307.12027).

    ``sqrt(mean over all bins and channels of (|F_gt| M - |F_sr| M)^2)`` with the un-normalised FFT and ``M`` the band's
    mask; the mean runs over every bin of the spectrum, so the squares of the bands add up to that of [0, 1].

    Args:
        gt: (B, C, H, W) in [0, 1].
        sr: (B, C, H, W) in [0, 1].
        edges: Increasing band edges, fractions of the corner frequency.
        convention: Geometry of the bands; ``published`` reproduces the paper's table.
        closed: Whether the last band includes its upper edge (with ``published`` and False, the corners count nowhere).

    Returns:
        (B, bands) float64.

    Raises:
        ValueError: If the shapes differ.
    """
    if gt.shape != sr.shape or gt.ndim != 4:
        raise ValueError(f"gt {tuple(gt.shape)} and sr {tuple(sr.shape)} must both be (B, C, H, W) of one shape")
    batch, channels, height, width = gt.shape
    index = _band_indices(height, width, check_edges(edges), convention, closed).to(gt.device)
    squares = (torch.fft.rfft2(gt).abs() - torch.fft.rfft2(sr).abs()).square_().sum(dim=1, dtype=torch.float64)
    sums = squares.new_zeros(batch, len(edges))
    sums.index_add_(1, index[0].flatten(), squares.flatten(1))
    # Columns strictly between zero and Nyquist stand for two bins of the full spectrum.
    paired = slice(1, (width + 1) // 2)
    sums.index_add_(1, index[1][:, paired].flatten(), squares[:, :, paired].flatten(1))
    return (sums[:, :-1] / (channels * height * width)).sqrt()


def mask_out(x: Tensor, r1: float, r2: float, complement: bool = False) -> Tensor:
    """Keeps the ring ``r1·R ≤ r < r2·R`` of a centred spectrum and sets the rest to zero, as published.

    ``r`` is the distance in bins from the geometric centre ``((H−1)/2, (W−1)/2)`` and ``R`` that of the corner. So
    ``r2 = 1`` drops the corners and, for even sides, the centre lies half a bin from the zero frequency, so that
    filtered images are not real. :func:`make_band_masks` has neither defect.

    Args:
        x: Centred spectra, real or complex, ``(..., H, W)``.
        r1: Lower radius, a fraction of ``R``.
        r2: Upper radius, a fraction of ``R``.
        complement: Zero the ring and keep the rest instead.

    Returns:
        The masked tensor, shape and type of ``x``.
    """
    radius = _centre_distance(x.shape[-2], x.shape[-1], x.device)
    keep = (radius >= r1 * radius[0, 0]) & (radius < r2 * radius[0, 0])
    return x * (~keep if complement else keep)
