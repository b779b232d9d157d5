"""Robustness of a discriminator's score to removing or disturbing one frequency band of an image."""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
import os
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from basicsr.analysis.images import SERIAL, BadFile, Group, Runtime, digest_file, measure_images, to_float
from basicsr.analysis.quality_critic import QualityCritic
from basicsr.analysis.statistics import draw_crops
from basicsr.spectral import MaskConvention
from basicsr.spectral.bands import add_band_noise, even_edges, make_band_masks, remove_bands
from basicsr.utils.atomic import atomic_path
from basicsr.utils.dist_util import broadcast_object, get_dist_info
from basicsr.utils.errors import UserError
from basicsr.utils.seeding import numpy_rng

logger = logging.getLogger("basicsr")

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


class BandScores(NamedTuple):
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


@torch.inference_mode()
def measure_robustness(
    paths: Sequence[Path],
    critics: Mapping[str, QualityCritic],
    settings: RobustnessSettings,
    runtime: Runtime = SERIAL,
    cache: Mapping[str, Path] | None = None,
) -> tuple[dict[str, BandScores], list[BadFile]]:
    """Scores perturbed images with every critic; critics share the perturbed images.

    Args:
        paths: Image files.
        critics: Critics by label.
        settings: What is done to the images.
        runtime: Perturbed images per forward pass, decoding processes, and the device of the critics.
        cache: Folder by label in which scores are kept; an entry is used only if images (their content), weights,
            architecture and settings are the same. Damaged entries are computed again.

    Returns:
        Scores by label, and the files that could not be used.

    Raises:
        DataError: If no image could be used.
    """
    # Look for scores of earlier calls.
    is_first = get_dist_info()[0] == 0
    found, entries = broadcast_object(_find_entries(paths, critics, settings, cache) if is_first else ({}, {}))
    missing = {label: critic for label, critic in critics.items() if label not in found}

    # Show what is perturbed to every other critic.
    views, bad_files = 1 + 2 * settings.divide, list[BadFile]()
    masks = make_band_masks(settings.input_size, settings.input_size, settings.edges, settings.mask).to(runtime.device)
    drawer = partial(draw_crops, size=settings.input_size, repeat=settings.repeat, seed=settings.seed)
    at_once = max(1, runtime.batch_size // views)

    def measure(group: Group[Tensor]) -> dict[int, dict[str, Tensor]]:
        places: list[int] = []
        rows: dict[str, list[Tensor]] = {label: [] for label in missing}
        drawn = ((place, draw, crop) for place, crops in group for draw, crop in enumerate(crops))
        while crops := list(itertools.islice(drawn, at_once)):
            places += [place for place, _, _ in crops]
            images = to_float(torch.stack([crop for _, _, crop in crops]).to(runtime.device))
            keys = [(paths[place].name, draw) for place, draw, _ in crops]
            perturbed = _perturb(images, keys, masks, settings)
            # Batches of nearly equal size, so that none is left with a few images.
            batches = perturbed.flatten(0, 1).tensor_split(-(-len(images) * views // runtime.batch_size))
            for label, critic in missing.items():
                rows[label] += [critic(batch).double().cpu() for batch in batches]
        tables = {label: torch.cat(parts).view(-1, settings.repeat, views) for label, parts in rows.items() if parts}
        distinct = enumerate(dict.fromkeys(places))
        return {place: {label: table[i].clone() for label, table in tables.items()} for i, place in distinct}

    if missing:
        how = runtime._replace(batch_size=at_once)
        measured = dict(measure_images(paths, drawer, measure, bad_files, how))
        names = tuple(paths[place].name for place in measured for _ in range(settings.repeat))
        for label in missing:
            table = torch.cat([tables[label] for tables in measured.values()]).numpy()
            clean, masked, noisy = table[:, 0], table[:, 1 : 1 + settings.divide], table[:, 1 + settings.divide :]
            found[label] = BandScores(names, clean, masked, noisy), bad_files
            if label in entries and is_first:
                _write_entry(entries[label], *found[label])
    return {label: found[label][0] for label in critics}, next(iter(found.values()))[1]


def _perturb(images: Tensor, keys: Sequence[tuple[str, int]], masks: Tensor, settings: RobustnessSettings) -> Tensor:
    """Every crop untouched, then with each band removed, then with each band of its noise added.

    Args:
        images: (N, C, H, W) in [0, 1].
        keys: Name and number of each crop, which its noise depends on.
        masks: (bands, …) as of :func:`make_band_masks`.
        settings: What is done.

    Returns:
        (N, 1 + 2 * bands, C, H, W).
    """
    bands = settings.divide
    rngs = [numpy_rng("band noise", settings.seed, *key) for key in keys]
    noise = np.stack([rng.standard_normal(images.shape[1:], dtype=np.float32) for rng in rngs])
    noise *= settings.noise_std / 255
    perturbed = images.new_empty(len(images), 1 + 2 * bands, *images.shape[1:])
    perturbed[:, 0] = images
    remove_bands(images, masks, out=perturbed[:, 1 : 1 + bands])
    add_band_noise(images, torch.from_numpy(noise).to(images.device), masks, out=perturbed[:, 1 + bands :])
    return perturbed


def _find_entries(
    paths: Sequence[Path],
    critics: Mapping[str, QualityCritic],
    settings: RobustnessSettings,
    cache: Mapping[str, Path] | None,
) -> tuple[dict[str, tuple[BandScores, list[BadFile]]], dict[str, Path]]:
    """Scores of earlier calls, and the files of those that are wanted, by label."""
    if cache is None:
        return {}, {}
    # A file without a digest is one that decoding will name as unreadable.
    readable = {path for path in paths if path.is_file() and os.access(path, os.R_OK)}
    content = [(path.name, digest_file(path) if path in readable else "") for path in paths]
    found: dict[str, tuple[BandScores, list[BadFile]]] = {}
    entries: dict[str, Path] = {}
    for label, critic in critics.items():
        inputs = (_CACHE_FORMAT, critic.identity, content, asdict(settings))
        digest = hashlib.blake2b(json.dumps(inputs, sort_keys=True).encode(), digest_size=16).hexdigest()
        entries[label] = cache[label] / f"{digest}.npz"
        if (stored := _read_entry(entries[label])) is not None:
            logger.info("%s: scores taken from %s", label, entries[label])
            found[label] = stored
    return found, entries


def _read_entry(path: Path) -> tuple[BandScores, list[BadFile]] | None:
    """Scores of an earlier call and the files that it could not use; None if there are none, or they are damaged."""
    if not path.is_file():
        return None
    try:
        with np.load(path) as stored:
            scores = BandScores(tuple(map(str, stored["images"])), stored["clean"], stored["masked"], stored["noisy"])
            return scores, [BadFile(*map(str, row)) for row in stored["bad_files"]]
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, zipfile.BadZipFile, zlib.error) as error:
        logger.warning("%s is damaged (%s); its scores are computed again", path, str(error) or type(error).__name__)
        return None


def _write_entry(path: Path, scores: BandScores, bad_files: Sequence[BadFile]) -> None:
    """Keeps scores for later calls; where that fails, the log says so."""
    texts = {"images": np.array(scores.images, np.str_), "bad_files": np.array(bad_files, np.str_).reshape(-1, 2)}
    try:
        with atomic_path(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **{**scores._asdict(), **texts})
    except OSError as error:
        # Not an error: the scores are at hand, and the next call only has to compute them again.
        logger.warning("scores cannot be kept in %s: %s", path.parent, error.strerror or error)
