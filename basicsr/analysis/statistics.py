"""Statistics of radial power spectra over many crops: what profile plots are drawn from."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from basicsr.analysis.images import BadFile, describe_bad_files, draw_offset, load_images, to_float
from basicsr.spectral.transforms import get_reduced_spectrum, rgb_to_luma
from basicsr.utils.atomic import atomic_save
from basicsr.utils.errors import DataError, UserError

Upscale = Callable[[Tensor], Tensor]


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
        content = {
            "mean": torch.from_numpy(self.mean),
            "std": torch.from_numpy(self.std),
            "count": self.count,
            "patch_size": self.patch_size,
            "label": self.label,
        }
        atomic_save(content, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], label: str = "") -> ProfileStatistics:
        """Reads a statistics file; only ``mean`` and ``std`` need to be in it.

        Raises:
            DataError: If the file is missing or holds no statistics.
        """
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            mean, std = (np.asarray(content[key], dtype=np.float64) for key in ("mean", "std"))
        except Exception as error:
            reason = f"{error}".splitlines()[0] if f"{error}" else type(error).__name__
            raise DataError(f"{path} is not a statistics file with mean and std: {reason}") from error
        return cls(
            mean,
            std,
            int(content.get("count", 0)),
            int(content.get("patch_size", 0)),
            label or content.get("label", "") or Path(path).parent.name,
        )


class ProfileAccumulator:
    """Running mean and variance of profiles; its size does not depend on how many it has seen.

    Batches are merged by Chan, Golub and LeVeque's update, in float64.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean: Tensor | None = None
        self._squares: Tensor | None = None

    def update(self, profiles: Tensor) -> None:
        """Adds profiles (N, rings).

        Raises:
            ValueError: If their length differs from that of earlier ones.
        """
        profiles = profiles.double()
        if self._mean is None or self._squares is None:
            self._mean = self._squares = profiles.new_zeros(profiles.shape[1])
        elif profiles.shape[1] != len(self._mean):
            raise ValueError(f"profiles of {profiles.shape[1]} rings after profiles of {len(self._mean)}")
        total = self._count + len(profiles)
        mean = profiles.mean(dim=0)
        shift = mean - self._mean
        self._squares = (
            self._squares + (profiles - mean).square().sum(dim=0) + shift**2 * (self._count * len(profiles) / total)
        )
        self._mean = self._mean + shift * (len(profiles) / total)
        self._count = total

    def finish(self, patch_size: int, label: str = "") -> ProfileStatistics:
        """Returns the statistics so far.

        Raises:
            ValueError: If no profile was added.
        """
        if self._mean is None or self._squares is None:
            raise ValueError("no profile was added")
        std = (self._squares / self._count).sqrt()
        return ProfileStatistics(self._mean.cpu().numpy(), std.cpu().numpy(), self._count, patch_size, label)


def compute_profiles(images: Tensor) -> Tensor:
    """Radial power spectra of images' luma.

    Args:
        images: (B, 1 or 3, H, W) in [0, 1].

    Returns:
        (B, rings) float64, un-normalised FFT.
    """
    return get_reduced_spectrum(rgb_to_luma(images)[:, 0], nyquist="symmetric")


@dataclass(frozen=True)
class CropDrawer:
    """Cuts ``repeat`` random ``size`` x ``size`` crops from an image; they depend on (seed, image name) alone."""

    size: int
    repeat: int
    seed: int

    def __call__(self, name: str, image: Tensor) -> Tensor:
        crops = []
        for draw in range(self.repeat):
            top, left = draw_offset(self.seed, name, draw, image.shape[-2], image.shape[-1], (self.size, self.size))
            crops.append(image[:, top : top + self.size, left : left + self.size])
        return torch.stack(crops)


@dataclass(frozen=True)
class FolderStatistics:
    """Statistics of a folder and the files that could not be used."""

    statistics: ProfileStatistics
    bad_files: list[BadFile] = field(default_factory=list)


def estimate_statistics(
    paths: Sequence[Path],
    *,
    patch_size: int = 256,
    repeat: int = 1,
    seed: int = 23,
    label: str = "",
    upscale: Upscale | None = None,
    scale: int = 1,
    batch_size: int = 16,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
) -> FolderStatistics:
    """Spectral statistics of images, or of a generator's outputs on them.

    Args:
        paths: Image files.
        patch_size: Side in pixels of the crops that are measured; with ``upscale`` those of its outputs.
        repeat: Random crops per image.
        seed: Seed of the crop positions.
        label: Name for legends.
        upscale: Generator (B, 3, h, w) -> (B, 3, h·scale, w·scale) in [0, 1]; it is given crops of patch_size/scale.
        scale: Its factor.
        batch_size: Crops per batch.
        num_workers: Decoding processes.
        device: Where spectra are computed.

    Raises:
        UserError: If ``patch_size`` is below 2 or not divisible by ``scale``, or ``repeat`` is below 1.
        DataError: If no image could be used.
    """
    if patch_size < 2:
        raise UserError(f"patch_size must be 2 pixels or more; got {patch_size}")
    if upscale is not None and patch_size % scale:
        raise UserError(f"patch_size {patch_size} must be divisible by the generator's scale {scale}")
    if repeat < 1:
        raise UserError(f"repeat must be 1 or more; got {repeat}")
    drawer = CropDrawer(patch_size if upscale is None else patch_size // scale, repeat, seed)
    accumulator = ProfileAccumulator()
    bad_files: list[BadFile] = []
    for crops in _batch_crops(paths, drawer, batch_size, num_workers, bad_files):
        images = to_float(crops.to(device))
        if upscale is not None:
            images = upscale(images)
        accumulator.update(compute_profiles(images))
    if len(bad_files) == len(paths):
        raise DataError("no image could be used:\n" + describe_bad_files(bad_files))
    return FolderStatistics(accumulator.finish(patch_size, label), bad_files)


def _batch_crops(
    paths: Sequence[Path], drawer: CropDrawer, batch_size: int, num_workers: int, bad_files: list[BadFile]
) -> Iterable[Tensor]:
    waiting: list[Tensor] = []
    num_waiting = 0
    for _, item in tqdm(load_images(paths, num_workers, drawer), total=len(paths), unit="image", disable=None):
        if isinstance(item, BadFile):
            bad_files.append(item)
            continue
        waiting.append(item)
        num_waiting += len(item)
        if num_waiting >= batch_size:
            yield from torch.cat(waiting).split(batch_size)
            waiting, num_waiting = [], 0
    if waiting:
        yield from torch.cat(waiting).split(batch_size)
