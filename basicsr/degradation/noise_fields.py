"""Noise as a function of (seed, row, column, channel).

A pixel's noise is computed from its own position by hashing, so it does not matter which window of an image is
computed, in which batch, on which device: the noise of a crop is the crop of the noise, and one image of a batch can be
made again alone. A CPU makes it in bands that fit into its cache, several times as fast as for whole batches at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from scipy import special
from torch import Tensor

from basicsr.degradation.parameters import NoiseDraw
from basicsr.degradation.windows import Windows, cut_windows, send

_NUM_LEVELS = 256
_MOST_EXPONENT = 8
_BUCKET_BITS = 10
"""Of the 32 bits that a Poisson count is made from: how many choose the place where its search begins."""

_BAND = 2**15
"""Pixels and channels of a band: some 64-bit numbers for each fit into the cache of a core."""

# Constants of SplitMix64: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", 2014.
# They are written unsigned; 2^64 less is the same bits as an int64.
_INCREMENT = 0x9E3779B97F4A7C15 - (1 << 64)
_MULTIPLIERS = (0xBF58476D1CE4E5B9 - (1 << 64), 0x94D049BB133111EB - (1 << 64))


def _shift_right(x: Tensor, bits: int) -> Tensor:
    """Logical shift: torch's shift of int64 is arithmetic."""
    return (x >> bits) & ((1 << (64 - bits)) - 1)


def _scramble_(x: Tensor) -> Tensor:
    """SplitMix64's finaliser, a bijection of int64 (multiplication wraps), in place."""
    for bits, multiplier in zip((30, 27), _MULTIPLIERS):
        x.bitwise_xor_(_shift_right(x, bits)).mul_(multiplier)
    return x.bitwise_xor_(_shift_right(x, 31))


def hash_pixels(seeds_B: Tensor, gray_B: Tensor, rows_BH: Tensor, cols_BW: Tensor, num_channels: int = 3) -> Tensor:
    """64 random bits for each pixel and channel.

    Args:
        seeds_B: int64, one per image.
        gray_B: bool; where true the three channels get the same bits.
        rows_BH: int64 row numbers in the whole image.
        cols_BW: int64 column numbers in the whole image.
        num_channels: How many channels to make; 1 is enough where all images are gray.

    Returns:
        (B, num_channels, H, W) int64.
    """
    channels_BC = torch.arange(num_channels, device=seeds_B.device) * (~gray_B).long().unsqueeze(1)
    columns = (cols_BW << 2)[:, None, None, :] + channels_BC[:, :, None, None]
    key = _scramble_(seeds_B * _INCREMENT + _INCREMENT)
    # Products and sums wrap, so that the factor may be multiplied into the parts of the counter.
    rows = (rows_BH << 32)[:, None, :, None] * _INCREMENT + key[:, None, None, None]
    return _scramble_(_scramble_(rows + columns * _INCREMENT))


def normal_from_bits(bits: Tensor) -> Tensor:
    """Standard normal float32 numbers, one for each 64 bits, by Box and Muller's transform (1958); at most 6.8."""
    radius_bits, angle_bits = _shift_right(bits, 32).double(), (bits & 0xFFFFFFFF).double()
    # Taken in float64 up to here: float32 cannot hold 32 bits.
    uniform = ((radius_bits + 0.5) * 2.0**-32).float()
    angle = (angle_bits * (2 * math.pi * 2.0**-32)).float()
    return torch.sqrt(-2 * torch.log(uniform)) * torch.cos(angle)


@lru_cache(maxsize=8)
def _poisson_tables(device: torch.device) -> tuple[Tensor, Tensor]:
    """Distribution functions of all photon counts that 8-bit images can have, end to end in one ascending sequence.

    Row ``r = exponent * 256 + level`` belongs to the rate ``2^exponent * level / 255`` and holds ``r + P(X <= k)`` for
    k = 0, 1, …; so one binary search finds both the row and the count.

    Returns:
        The sequence (float64) and the position at which each row starts (int64).
    """
    pieces, lengths = [], []
    for exponent in range(_MOST_EXPONENT + 1):
        photons = 2**exponent
        counts = np.arange(int(photons + 8 * math.sqrt(photons) + 16))
        rates = np.arange(_NUM_LEVELS) / 255.0 * photons
        cdf = special.pdtr(counts[None, :], rates[:, None])
        cdf[:, -1] = 1.0
        rows = exponent * _NUM_LEVELS + np.arange(_NUM_LEVELS)
        pieces.append((cdf + rows[:, None]).ravel())
        lengths += [len(counts)] * _NUM_LEVELS
    sequence, starts = np.concatenate(pieces), np.concatenate([[0], np.cumsum(lengths)[:-1]])
    return torch.from_numpy(sequence).to(device), torch.from_numpy(starts).to(device)


def poisson_from_bits(bits: Tensor, levels: Tensor, exponents: Tensor) -> Tensor:
    """Poisson counts by inversion of the distribution function.

    Args:
        bits: (B, …) int64.
        levels: (B, …) int64, 0 … 255: brightness.
        exponents: (B,) int64, 0 … 8: ``2^exponent`` photons at level 255.

    Returns:
        (B, …) int64 counts with mean ``2^exponent * level / 255``.
    """
    if bits.device.type == "cpu":
        parts = zip(bits.numpy(), levels.numpy(), exponents.tolist(), strict=True)
        return torch.from_numpy(np.stack([_count_photons_by_guide(*part) for part in parts]))
    return _search_counts(bits, levels, exponents)


def _search_counts(bits: Tensor, levels: Tensor, exponents: Tensor) -> Tensor:
    """:func:`poisson_from_bits` by binary search."""
    sequence, starts = _poisson_tables(bits.device)
    rows = levels + exponents.view(-1, *[1] * (levels.ndim - 1)) * _NUM_LEVELS
    uniform = (_shift_right(bits, 32).double() + 0.5) * 2.0**-32
    return torch.searchsorted(sequence, (rows + uniform).contiguous()) - starts[rows]


@lru_cache(maxsize=_MOST_EXPONENT + 1)
def _poisson_guide(exponent: int) -> tuple[np.ndarray, np.ndarray, int]:
    """What :func:`_poisson_tables` has for one exponent, in whole numbers, with the places where a search may begin.

    Returns:
        Thresholds (256 * n,) int64: ``level * 2^33 + t``, of which count ``k`` takes part where the 32 bits are at
        least ``t[k - 1]``; the first position for each level and bucket, (256 * buckets,) int32; and n.
    """
    sequence, starts = (table.numpy() for table in _poisson_tables(torch.device("cpu")))
    first = exponent * _NUM_LEVELS
    count = int(starts[first + 1] - starts[first])
    rows = np.arange(_NUM_LEVELS)[:, None]
    probabilities = sequence[starts[first] :][: _NUM_LEVELS * count].reshape(_NUM_LEVELS, count) - (first + rows)
    # The smallest v with P < (v + 1/2) / 2^32; that of P = 1 is never reached.
    thresholds = (rows << 33) + np.floor(probabilities * 2.0**32 - 0.5).astype(np.int64) + 1
    starting = (rows << 33) + (np.arange(1 << _BUCKET_BITS) << (32 - _BUCKET_BITS))
    guide = np.searchsorted(thresholds.ravel(), starting.ravel(), side="right")
    return thresholds.ravel(), guide.astype(np.int32), count


def _count_photons_by_guide(bits: np.ndarray, levels: np.ndarray, exponent: int) -> np.ndarray:
    """:func:`poisson_from_bits` for one image by indexed search (H.-C. Chen and Y. Asau, AIIE Transactions 6, 1974)."""
    thresholds, guide, count = _poisson_guide(exponent)
    high = (bits.view(np.uint64) >> np.uint64(32)).view(np.int64)
    wanted = (levels << 33) + high
    position = guide[(levels << _BUCKET_BITS) + (high >> (32 - _BUCKET_BITS))].astype(np.int64)
    for _ in range(2):
        position += thresholds[position] <= wanted
    # A bucket holds more than two counts only in the tails.
    is_open = thresholds[position] <= wanted
    position[is_open] = np.searchsorted(thresholds, wanted[is_open], side="right")
    return position - levels * count


def luma_of(img: Tensor) -> Tensor:
    """(B, 3, H, W) RGB → (B, 1, H, W) luma, weights 0.2989, 0.587, 0.114."""
    red, green, blue = img.split(1, dim=1)
    return 0.2989 * red + 0.587 * green + 0.114 * blue


def quantise_levels(img: Tensor) -> Tensor:
    """The nearest 8-bit level, 0 … 255, as integers."""
    return (img * 255.0).round().clamp(0, 255).long()


def photon_exponent(levels: Tensor) -> Tensor:
    """``ceil(log2 n)`` for the number ``n`` of distinct values in each sample.

    Args:
        levels: (B, ...) integers in 0 … 255.

    Returns:
        (B,) integers in 0 … 8.
    """
    flat = levels.flatten(1)
    if levels.device.type == "cpu":
        present = torch.stack([torch.bincount(sample, minlength=_NUM_LEVELS) for sample in flat]).clamp_(max=1)
    else:
        present = torch.zeros(flat.shape[0], _NUM_LEVELS, dtype=torch.int32, device=levels.device)
        present.scatter_(1, flat, 1)
    # n - 1/2 = m * 2^e with m in [1/2, 1): e is the exponent, free of the rounding of log2 at powers of two.
    return torch.frexp(present.sum(1) - 0.5).exponent


def count_photons(img: Tensor, gray_B: Tensor) -> Tensor:
    """Exponent of the number of photons at full white, from the number of distinct 8-bit values of whole images.

    Args:
        img: (B, 3, H, W) in [0, 1].
        gray_B: bool; where true the luma is counted.

    Returns:
        (B,) int64.
    """
    # Image by image: the numbers of a whole batch are eight times as large as the images.
    parts = zip(img.split(1), gray_B.split(1)) if img.device.type == "cpu" else [(img, gray_B)]
    return torch.cat([photon_exponent(quantise_levels(poisson_base(*part))) for part in parts]).long()


def poisson_base(img: Tensor, gray_B: Tensor) -> Tensor:
    """The image whose photons are counted: ``img``, or its luma in all channels where ``gray_B``."""
    return torch.where(gray_B.view(-1, 1, 1, 1), luma_of(img), img)


def gaussian_noise(img: Tensor, bits: Tensor, sigma_B: Tensor) -> Tensor:
    """Gaussian noise for (B, 3, H, W) images; ``sigma_B`` in 8-bit units. One channel of bits gives one of noise."""
    return normal_from_bits(bits).to(img.dtype) * (sigma_B.to(img.dtype) / 255.0).view(-1, 1, 1, 1)


def poisson_noise(img: Tensor, bits: Tensor, scale_B: Tensor, gray_B: Tensor, exponents_B: Tensor) -> Tensor:
    """Poisson noise for (B, 3, H, W) images in [0, 1]; see ``basicsr.degradation.noise``.

    One channel of bits, for images that are all gray, gives one of noise.
    """
    levels = quantise_levels(luma_of(img) if bits.shape[1] == 1 else poisson_base(img, gray_B))
    photons = torch.exp2(exponents_B.to(img.dtype)).view(-1, 1, 1, 1)
    counts = poisson_from_bits(bits, levels, exponents_B).to(img.dtype)
    return (counts / photons - levels.to(img.dtype) / 255.0) * scale_B.to(img.dtype).view(-1, 1, 1, 1)


def _pieces(x: Tensor) -> Iterator[tuple[slice, slice]]:
    """Images and rows to be computed at once: all on a GPU, bands of single images on a CPU."""
    count, channels, height, width = x.shape
    if x.device.type != "cpu":
        yield slice(count), slice(height)
        return
    # So much for each thread; PyTorch gives no thread less.
    rows = max(1, _BAND * torch.get_num_threads() // (channels * width))
    for image in range(count):
        for row in range(0, height, rows):
            yield slice(image, image + 1), slice(row, row + rows)


def add_noise(
    x: Tensor, draws: Sequence[NoiseDraw], computed: Windows | None = None, window: Windows | None = None
) -> Tensor:
    """Adds noise of one kind to images of which a window is kept.

    Args:
        x: (B, 3, H, W), the part ``computed`` of each image; for Poisson noise this must be the whole image.
        draws: The noise of each image, all of one kind.
        computed: Where ``x`` lies; by default it is the whole image.
        window: What is to be returned; by default all of ``x``.

    Returns:
        The noisy windows, clipped to [0, 1].
    """
    computed = computed or Windows.whole(len(draws), x.shape[2], x.shape[3])
    window = window or computed
    is_poisson = draws[0].kind == "poisson"
    gray = send([draw.gray for draw in draws], torch.bool, x.device)
    strength = send([draw.strength for draw in draws], torch.float64, x.device)
    seeds = send([draw.seed for draw in draws], torch.int64, x.device)
    rows, cols = window.positions(x.device)
    kept = cut_windows(x, window.relative_to(computed))
    exponents = count_photons(x, gray) if is_poisson else seeds
    noisy = torch.empty_like(kept)
    for images, lines in _pieces(kept):
        part, own_gray, own_strength = kept[images, :, lines], gray[images], strength[images]
        num_channels = 1 if all(draw.gray for draw in draws[images]) else 3
        bits = hash_pixels(seeds[images], own_gray, rows[images, lines], cols[images], num_channels)
        if is_poisson:
            noise = poisson_noise(part, bits, own_strength, own_gray, exponents[images])
        else:
            noise = gaussian_noise(part, bits, own_strength)
        torch.clamp(part + noise, 0, 1, out=noisy[images, :, lines])
    return noisy
