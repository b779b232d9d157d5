"""How much a discriminator's score moves when one frequency band of an image is removed or disturbed by noise."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from basicsr.analysis.images import BadFile, describe_bad_files, digest_file, load_images, to_float
from basicsr.analysis.statistics import CropDrawer
from basicsr.spectral.bands import MaskConvention, add_band_noise, even_edges, make_band_masks, remove_bands
from basicsr.utils.atomic import atomic_path
from basicsr.utils.errors import DataError, UserError
from basicsr.utils.seeding import numpy_rng

logger = logging.getLogger("basicsr")

ScoreFunction = Callable[[Tensor], Tensor]
"""(B, 3, H, W) float32 RGB in [0, 1] -> (B,); the score of an image must not depend on its batch."""

_CACHE_FORMAT = 1


@dataclass(frozen=True)
class RobustnessSettings:
    """What is done to the images.

    Attributes:
        input_size: Side in pixels of the random crops that are scored.
        divide: Number of bands, of equal width from zero to the highest frequency.
        noise_std: Standard deviation, in grey levels of 255, of the white noise whose bands are added.
        mask: ``symmetric`` about zero frequency, or the ``published`` geometry with its corners left out.
        seed: Seed of crops and noise.
        repeat: Crops per image.
    """

    input_size: int = 192
    divide: int = 20
    noise_std: float = 30.0
    mask: MaskConvention = "symmetric"
    seed: int = 23
    repeat: int = 1

    def __post_init__(self) -> None:
        for name, least in (("input_size", 2), ("divide", 1), ("repeat", 1), ("noise_std", 0)):
            if not least <= (value := getattr(self, name)) < math.inf:
                raise UserError(f"{name} must be {least} or more; got {value}")

    @property
    def edges(self) -> tuple[float, ...]:
        return even_edges(self.divide)


@dataclass(frozen=True)
class BandScores:
    """One critic's scores.

    Attributes:
        images: (N,) name of each crop's image.
        clean: (N,) score of the untouched crop.
        masked: (N, bands) score with one band removed.
        noisy: (N, bands) score with noise added in one band.
    """

    images: tuple[str, ...]
    clean: np.ndarray
    masked: np.ndarray
    noisy: np.ndarray


@dataclass(frozen=True)
class JudgedCritic:
    """A critic to be measured.

    Attributes:
        score: Its score.
        identity: What the score is computed from (digest of weights, architecture …); names its cache entry.
    """

    score: ScoreFunction
    identity: str


def perturb_bands(images: Tensor, noise: Tensor, masks: Tensor) -> Tensor:
    """Every image untouched, with each band removed, and with each band of its noise added.

    Args:
        images: (B, C, H, W) in [0, 1].
        noise: (B, C, H, W).
        masks: (K, H, W//2+1) from :func:`basicsr.spectral.bands.make_band_masks`.

    Returns:
        (B, 1 + 2K, C, H, W) in [0, 1].
    """
    bands = len(masks)
    result = images.new_empty(len(images), 1 + 2 * bands, *images.shape[1:])
    result[:, 0] = images
    remove_bands(images, masks, out=result[:, 1 : 1 + bands])
    add_band_noise(images, noise, masks, out=result[:, 1 + bands :])
    return result


def score_in_batches(score: ScoreFunction, images: Tensor, batch_size: int) -> Tensor:
    """Scores (N, 3, H, W) in batches of nearly equal size of at most ``batch_size``; (N,) float64."""
    parts = images.tensor_split(-(-len(images) // batch_size))
    return torch.cat([score(part).double() for part in parts])


@torch.inference_mode()
def measure_robustness(
    paths: Sequence[Path],
    critics: Mapping[str, JudgedCritic],
    settings: RobustnessSettings,
    *,
    batch_size: int = 20,
    num_workers: int = 0,
    device: torch.device | str = "cpu",
    cache: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None,
) -> tuple[dict[str, BandScores], list[BadFile]]:
    """Scores perturbed images with every critic; critics share the perturbed images.

    Args:
        paths: Image files.
        critics: Critics by label.
        settings: What is done to the images.
        batch_size: Perturbed images per forward pass.
        num_workers: Decoding processes.
        device: Where images are perturbed; critics are on it.
        cache: Folder in which scores are kept, one for all critics or one by label; an entry is used only if images
            (their content), weights, architecture and settings are the same. Damaged entries are computed anew.

    Returns:
        Scores by label, and the files that could not be used.

    Raises:
        DataError: If no image could be used.
    """
    entries = _entry_paths(cache, critics, paths, settings) if cache else {}
    found = {label: stored for label, entry in entries.items() if (stored := _read_entry(entry)) is not None}
    for label in found:
        logger.info("%s: scores taken from %s", label, entries[label])
    missing = {label: critic for label, critic in critics.items() if label not in found}
    if missing:
        fresh, bad_files = _measure(paths, missing, settings, batch_size, num_workers, device)
        for label, scores in fresh.items():
            found[label] = (scores, bad_files)
            if cache:
                _write_entry(entries[label], scores, bad_files)
    bad_files = next(iter(found.values()))[1]
    return {label: found[label][0] for label in critics}, bad_files


def _measure(
    paths: Sequence[Path],
    critics: Mapping[str, JudgedCritic],
    settings: RobustnessSettings,
    batch_size: int,
    num_workers: int,
    device: torch.device | str,
) -> tuple[dict[str, BandScores], list[BadFile]]:
    size = settings.input_size
    masks = make_band_masks(size, size, settings.edges, settings.mask).to(device)
    per_image = 1 + 2 * settings.divide
    names: list[str] = []
    rows: dict[str, list[Tensor]] = {label: [] for label in critics}
    bad_files: list[BadFile] = []
    group = max(1, batch_size // per_image)
    for crop_names, crops, noise in _group_crops(paths, settings, group, num_workers, bad_files):
        names += crop_names
        perturbed = perturb_bands(to_float(crops.to(device)), noise.to(device), masks).flatten(0, 1)
        for label, critic in critics.items():
            scores = score_in_batches(critic.score, perturbed, batch_size)
            rows[label].append(scores.reshape(-1, per_image).cpu())
    if not names:
        raise DataError("no image could be used:\n" + describe_bad_files(bad_files))
    return {label: _split_scores(names, torch.cat(parts).numpy()) for label, parts in rows.items()}, bad_files


def _split_scores(names: Sequence[str], rows: np.ndarray) -> BandScores:
    bands = rows.shape[1] // 2
    return BandScores(tuple(names), rows[:, 0], rows[:, 1 : 1 + bands], rows[:, 1 + bands :])


def _group_crops(
    paths: Sequence[Path], settings: RobustnessSettings, group: int, num_workers: int, bad_files: list[BadFile]
) -> Iterator[tuple[list[str], Tensor, Tensor]]:
    drawer = CropDrawer(settings.input_size, settings.repeat, settings.seed)
    names: list[str] = []
    crops: list[Tensor] = []
    noises: list[Tensor] = []
    for path, item in tqdm(load_images(paths, num_workers, drawer), total=len(paths), unit="image", disable=None):
        if isinstance(item, BadFile):
            bad_files.append(item)
            continue
        for draw, crop in enumerate(item):
            names.append(path.name)
            crops.append(crop)
            noises.append(_draw_noise(settings, path.name, draw))
            if len(names) == group:
                yield names, torch.stack(crops), torch.stack(noises)
                names, crops, noises = [], [], []
    if names:
        yield names, torch.stack(crops), torch.stack(noises)


def _draw_noise(settings: RobustnessSettings, name: str, draw: int) -> Tensor:
    rng = numpy_rng("band noise", settings.seed, name, draw)
    noise = rng.standard_normal((3, settings.input_size, settings.input_size), dtype=np.float32)
    return torch.from_numpy(noise).mul_(settings.noise_std / 255)


def _entry_paths(
    cache: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]],
    critics: Mapping[str, JudgedCritic],
    paths: Sequence[Path],
    settings: RobustnessSettings,
) -> dict[str, Path]:
    images = [(path.name, _digest_if_readable(path)) for path in paths]
    entries = {}
    for label, critic in critics.items():
        folder = cache[label] if isinstance(cache, Mapping) else cache
        parts = (_CACHE_FORMAT, critic.identity, images, asdict(settings))
        digest = hashlib.blake2b(json.dumps(parts, sort_keys=True).encode(), digest_size=16).hexdigest()
        entries[label] = Path(folder) / f"{digest}.npz"
    return entries


def _digest_if_readable(path: Path) -> str:
    """Digest of a file that will be read; empty for one that decoding will name as unreadable."""
    try:
        return digest_file(path) if path.is_file() else ""
    except OSError:
        return ""


def _read_entry(path: Path) -> tuple[BandScores, list[BadFile]] | None:
    if not path.is_file():
        return None
    try:
        with np.load(path) as stored:
            scores = BandScores(tuple(map(str, stored["images"])), stored["clean"], stored["masked"], stored["noisy"])
            return scores, [BadFile(str(name), str(reason)) for name, reason in stored["bad_files"]]
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        logger.warning("%s is damaged (%s); its scores are computed anew", path, str(error) or type(error).__name__)
        return None


def _write_entry(path: Path, scores: BandScores, bad_files: Sequence[BadFile]) -> None:
    bad = np.array([(file.name, file.reason) for file in bad_files], dtype=np.str_).reshape(-1, 2)
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(
                file,
                images=np.array(scores.images, dtype=np.str_),
                clean=scores.clean,
                masked=scores.masked,
                noisy=scores.noisy,
                bad_files=bad,
            )
    except OSError as error:
        # The scores themselves are at hand; only the next call has to compute them again.
        logger.warning("scores cannot be kept in %s: %s", path.parent, error.strerror or error)
