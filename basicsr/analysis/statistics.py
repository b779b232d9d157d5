"""Statistics of radial power spectra over many crops: what profile plots are drawn from."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from basicsr.analysis.generators import Generator
from basicsr.analysis.images import SERIAL, BadFile, Group, Runtime, draw_offset, measure_images, to_float
from basicsr.spectral.transforms import get_reduced_spectrum, rgb_to_luma
from basicsr.utils.atomic import atomic_save
from basicsr.utils.errors import DataError, UserError, first_line
from basicsr.weights import read_file


@dataclass(frozen=True)
class ProfileStatistics:
    """Mean and spread of the radial power spectra of a set of crops.

    Attributes:
        mean: (rings,) float64; power of the un-normalised FFT of luma in [0, 1], averaged over rings and crops.
        std: (rings,) float64; population standard deviation over crops.
        count: Number of crops.
        patch_size: Side of a crop in pixels.
        label: What was measured, for legends.
    """

    mean: np.ndarray
    std: np.ndarray
    count: int
    patch_size: int
    label: str = ""

    @property
    def frequency(self) -> np.ndarray:
        """(rings,) ring radius as a fraction of the highest (corner) frequency."""
        return np.arange(len(self.mean)) / max(len(self.mean) - 1, 1)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Writes a ``spectrum_stats.pth``: ``mean`` and ``std`` as published, and what they were computed from."""
        atomic_save({**vars(self), "mean": torch.from_numpy(self.mean), "std": torch.from_numpy(self.std)}, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], label: str = "") -> ProfileStatistics:
        """Reads a statistics file; only ``mean`` and ``std`` need to be in it.

        Raises:
            DataError: If the file is missing, damaged, or holds no statistics.
        """
        content = read_file(path, DataError)
        try:
            mean, std = (np.asarray(content[key], dtype=np.float64) for key in ("mean", "std"))
            count, patch_size = (int(content.get(key, 0)) for key in ("count", "patch_size"))
        except Exception as error:
            raise DataError(f"{path} is not a statistics file with mean and std: {first_line(error)}") from error
        return cls(mean, std, count, patch_size, label or content.get("label", "") or Path(path).parent.name)


def merge_profiles(batches: Iterable[Tensor]) -> tuple[Tensor, Tensor, int]:
    """Mean and population standard deviation of profiles, in memory that does not depend on how many there are.

    Batches are merged by Chan, Golub and LeVeque's update, in float64.

    Args:
        batches: (N, rings) each, of any N; one profile at least.

    Returns:
        The mean (rings,), the deviation (rings,) and the number of profiles.
    """
    count = 0
    # Sums that the first profiles broadcast to their length.
    mean = squares = torch.zeros((), dtype=torch.float64)
    for batch in batches:
        profiles = batch.double()
        total = count + len(profiles)
        own_mean = profiles.mean(dim=0)
        shift = own_mean - mean
        within, between = (profiles - own_mean).square().sum(dim=0), shift**2 * (count * len(profiles) / total)
        squares = squares + within + between
        mean = mean + shift * (len(profiles) / total)
        count = total
    return mean, (squares / count).sqrt(), count


def compute_profiles(images: Tensor) -> Tensor:
    """Radial power spectra of images' luma.

    Args:
        images: (B, 1 or 3, H, W) in [0, 1].

    Returns:
        (B, rings) float64, un-normalised FFT.
    """
    return get_reduced_spectrum(rgb_to_luma(images)[:, 0], nyquist="symmetric")


def draw_crops(name: str, image: Tensor, size: int, repeat: int, seed: int) -> Tensor:
    """Cuts random crops (repeat, 3, size, size) from an image (3, H, W); they depend on (seed, image name) alone."""
    sides = image.shape[-2], image.shape[-1], (size, size)
    corners = [draw_offset(seed, name, draw, *sides) for draw in range(repeat)]
    # One tensor, because each that a worker sends takes a file descriptor.
    return torch.stack([image[:, top : top + size, left : left + size] for top, left in corners])


def estimate_statistics(
    paths: Sequence[Path],
    *,
    patch_size: int = 256,
    repeat: int = 1,
    seed: int = 23,
    label: str = "",
    generator: Generator | None = None,
    runtime: Runtime = SERIAL,
) -> tuple[ProfileStatistics, list[BadFile]]:
    """Spectral statistics of images, or of a generator's outputs on them.

    Args:
        paths: Image files.
        patch_size: Side in pixels of the crops that are measured; with a generator those of its outputs.
        repeat: Random crops per image.
        seed: Seed of the crop positions.
        label: Name for legends.
        generator: It is given crops of patch_size/scale.
        runtime: Crops per batch, decoding processes, and where spectra are computed.

    Returns:
        The statistics, and the files that could not be used.

    Raises:
        UserError: If ``patch_size`` is below 2 or not divisible by the generator's scale, or ``repeat`` is below 1.
        DataError: If no image could be used.
    """
    if patch_size < 2:
        raise UserError(f"patch_size must be 2 pixels or more; got {patch_size}")
    if repeat < 1:
        raise UserError(f"repeat must be 1 or more; got {repeat}")
    scale = 1 if generator is None else generator.scale
    if patch_size % scale:
        raise UserError(f"patch_size {patch_size} must be divisible by the generator's scale {scale}")
    drawer = partial(draw_crops, size=patch_size // scale, repeat=repeat, seed=seed)
    bad_files: list[BadFile] = []

    def measure(group: Group[Tensor]) -> dict[int, Tensor]:
        places: list[int] = []
        drawn = ((place, crop) for place, crops in group for crop in crops)
        profiles: list[Tensor] = []
        while batch := list(itertools.islice(drawn, runtime.batch_size)):
            places += [place for place, _ in batch]
            images = to_float(torch.stack([crop for _, crop in batch]).to(runtime.device))
            profiles.append(compute_profiles(images if generator is None else generator(images)).cpu())
        rows = torch.cat(profiles).split(repeat) if profiles else ()
        return {place: own.clone() for place, own in zip(dict.fromkeys(places), rows)}

    found = measure_images(paths, drawer, measure, bad_files, runtime)
    mean, std, count = merge_profiles(profiles for _, profiles in found)
    return ProfileStatistics(mean.numpy(), std.numpy(), count, patch_size, label), bad_files
