"""Spectral analysis and scoring done the straightforward way: one image, one band, one crop at a time.

Kept as the yardstick of ``bench_analysis.py``: full complex FFTs, new masks for each image, rings found by sorting, a
forward pass for every single picture. The draws (crops, noise) are the library's, so that results are comparable.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from basicsr.analysis.images import draw_offset, read_image
from basicsr.analysis.robustness import RobustnessSettings
from basicsr.analysis.scorer import CropPlan
from basicsr.utils.seeding import numpy_rng

Score = Callable[[Tensor], Tensor]


def cut_square(path: Path, seed: int, draw: int, size: int) -> Tensor:
    """Decodes an image and cuts one random square out of it; (3, size, size) in [0, 1]."""
    image = read_image(path).float() / 255
    top, left = draw_offset(seed, path.name, draw, image.shape[1], image.shape[2], (size, size))
    return image[:, top : top + size, left : left + size]


def make_band_mask(size: int, low: float, high: float) -> Tensor:
    """Full mask, symmetric about zero frequency, in the order of ``fft2``; the last band is closed."""
    frequency = torch.fft.fftfreq(size, dtype=torch.float64)
    radius = torch.sqrt(2 * (frequency[:, None] ** 2 + frequency[None] ** 2)) * (1 + 1e-12)
    return (radius >= low) & ((radius < high) | (high == 1))


def measure_robustness(
    paths: Sequence[Path], score: Score, settings: RobustnessSettings
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores (images, bands) of untouched images, with the band removed, with its noise added; band after band."""
    untouched, masked, noisy = np.zeros((3, len(paths), settings.divide))
    for band, (low, high) in enumerate(zip(settings.edges[:-1], settings.edges[1:])):
        for index, path in enumerate(paths):
            crop = cut_square(path, settings.seed, 0, settings.input_size)
            rng = numpy_rng("band noise", settings.seed, path.name, 0)
            noise = (
                torch.from_numpy(rng.standard_normal(tuple(crop.shape), dtype=np.float32)) * settings.noise_std / 255
            )
            mask = make_band_mask(settings.input_size, low, high)
            without = torch.fft.ifft2(torch.fft.fft2(crop) * ~mask).real.clamp(0, 1)
            disturbed = (crop + torch.fft.ifft2(torch.fft.fft2(noise) * mask).real).clamp(0, 1)
            untouched[index, band] = float(score(crop[None]))
            masked[index, band] = float(score(without[None]))
            noisy[index, band] = float(score(disturbed[None]))
    return untouched, masked, noisy


def reduce_spectrum(image: Tensor) -> np.ndarray:
    """Radial power spectrum of one grey image (size, size), by sorting all bins by radius."""
    size = image.shape[-1]
    power = torch.fft.fftshift(torch.fft.fft2(image)).abs().square().double().numpy()
    if size % 2 == 0:
        # The Nyquist frequency on both ends, so that zero frequency is in the middle.
        power = np.concatenate([power, power[:1]], axis=0)
        power = np.concatenate([power, power[:, :1]], axis=1)
    middle = size // 2
    y, x = np.indices(power.shape)
    radius = np.hypot(x - middle, y - middle).ravel()
    order = np.argsort(radius)
    ring = np.floor(radius[order]).astype(int)
    last = np.flatnonzero(np.diff(ring, append=ring[-1] + 1))
    sums = np.diff(np.cumsum(power.ravel()[order])[last], prepend=0)
    counts = np.diff(last, prepend=-1)
    return sums / counts


def estimate_statistics(paths: Sequence[Path], size: int, repeat: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of radial power spectra over random crops."""
    profiles = []
    for path in paths:
        for draw in range(repeat):
            crop = cut_square(path, seed, draw, size)
            luma = 0.299 * crop[0] + 0.587 * crop[1] + 0.114 * crop[2]
            profiles.append(reduce_spectrum(luma))
    stacked = np.stack(profiles)
    assert stacked.shape[1] == int(math.hypot(size // 2, size // 2)) + 1
    return stacked.mean(axis=0), stacked.std(axis=0)


def score_random_crops(paths: Sequence[Path], critics: Sequence[Score], plan: CropPlan) -> np.ndarray:
    """Scores (critics, images): the mean over random crops, one crop and one critic at a time."""
    assert plan.size is not None
    means = []
    for path in paths:
        image = read_image(path).float() / 255
        scores = []
        for draw in range(plan.n_ensemble):
            top, left = draw_offset(plan.seed, path.name, draw, image.shape[1], image.shape[2], plan.size)
            crop = image[None, :, top : top + plan.size[0], left : left + plan.size[1]]
            scores.append([float(score(crop)) for score in critics])
        means.append(np.mean(scores, axis=0))
    return np.array(means).T
