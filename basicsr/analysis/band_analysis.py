"""Band errors of several models over a data set (Table 1 of arXiv 2307.12027)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from basicsr.analysis.generators import Generator, ReadyResults
from basicsr.analysis.images import BadFile, describe_bad_files, read_image, to_float
from basicsr.analysis.labels import refuse_equal_labels
from basicsr.analysis.outputs import SOURCE
from basicsr.data.decoding import read_image_size
from basicsr.spectral.bands import MaskConvention, check_edges, compute_band_rmse
from basicsr.utils.errors import DataError, UserError
from basicsr.utils.tables import format_table, write_csv, write_json

TABLE_EDGES = (0.0, 0.3, 0.8, 1.0)
"""Bands of the paper's Table 1, fractions of the highest (corner) frequency."""


class PairedSource(Protocol):
    """Samples with ``gt`` and, for models that run, ``lq`` (3, H, W) in [0, 1], and ``gt_path``."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class BandErrors:
    """Magnitude RMSE per image, model and band.

    Attributes:
        models: Model labels.
        edges: Band edges, fractions of the highest frequency.
        images: Names of the images that every model could be measured on.
        rmse: (models, images, bands).
        mask: Geometry of the bands.
        bad_files: Images that could not be used, and why.
    """

    models: tuple[str, ...]
    edges: tuple[float, ...]
    images: tuple[str, ...]
    rmse: np.ndarray
    mask: MaskConvention
    bad_files: tuple[BadFile, ...] = ()

    @property
    def mean(self) -> np.ndarray:
        """(models, bands) mean over images: the figure of Table 1."""
        return self.rmse.mean(axis=1)

    @property
    def band_names(self) -> list[str]:
        """``low-high`` of every band."""
        return [f"{low:g}-{high:g}" for low, high in zip(self.edges, self.edges[1:])]

    def format(self) -> str:
        """A table for a terminal: one model per row, one band per column."""
        rows = [[model, *map(float, row)] for model, row in zip(self.models, self.mean)]
        return format_table([f"magnitude RMSE, {len(self.images)} images", *self.band_names], rows)

    def write(self, base: str | os.PathLike[str], source: Mapping[str, Any] | None = None) -> list[Path]:
        """Writes ``<base>.json`` (means, and what they came from: ``source``) and ``<base>.csv`` (every image).

        Returns:
            Their paths.
        """
        paths = [Path(f"{base}.json"), Path(f"{base}.csv")]
        content = {
            "edges": self.edges,
            "mask": self.mask,
            "num_images": len(self.images),
            SOURCE: source or {},
            "mean_rmse": dict(zip(self.models, self.mean)),
            "bad_files": [vars(bad) for bad in self.bad_files],
        }
        write_json(content, paths[0])
        rows = [
            [image, model, *map(float, self.rmse[m, i])]
            for i, image in enumerate(self.images)
            for m, model in enumerate(self.models)
        ]
        write_csv(["image", "model", *(f"rmse_{name}" for name in self.band_names)], rows, paths[1])
        return paths


class _Samples(Dataset[object]):
    """Turns a sample that cannot be read into a :class:`BadFile`, in the worker."""

    def __init__(self, source: PairedSource) -> None:
        self._source = source

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> object:
        try:
            sample = dict(self._source[index])
        except (UserError, OSError) as error:
            return _name_failure(index, str(error))
        # Our data sets say what they could not read in the sample itself.
        return sample if "gt" in sample else _name_failure(index, str(sample.get("failed", "no ground truth")))


def _name_failure(index: int, message: str) -> BadFile:
    name, separator, reason = message.partition(": ")
    return BadFile(Path(name).name, reason) if separator else BadFile(f"image {index + 1}", message)


@torch.inference_mode()
def measure_band_errors(
    source: PairedSource,
    models: Sequence[Generator | ReadyResults],
    edges: Sequence[float] = TABLE_EDGES,
    *,
    mask: MaskConvention = "published",
    num_workers: int = 0,
    device: torch.device | str = "cpu",
) -> BandErrors:
    """Measures every model on every image of a paired data set; images are read once.

    Outputs are not rounded to 8 bit. An image that cannot be read, or on which a model fails, is left out for all.

    Args:
        source: Pairs of images.
        models: Models that run on ``lq``, or folders of results.
        edges: Band edges; the last band includes its upper edge.
        mask: ``published`` for numbers like those of the paper; ``symmetric`` measures radius from zero frequency, in
            cycles per pixel.
        num_workers: Decoding processes.
        device: Where models run.

    Raises:
        UserError: If there is no model or two have one name.
        DataError: If no image could be used.
    """
    names = tuple(model.name for model in models)
    refuse_equal_labels(names, "models", "LABEL=MODEL")
    bounds = check_edges(edges)
    rows: list[np.ndarray] = []
    images: list[str] = []
    bad_files: list[BadFile] = []
    loader: DataLoader[object] = DataLoader(_Samples(source), batch_size=None, num_workers=num_workers)
    for sample in tqdm(loader, total=len(source), unit="image", disable=None):
        if isinstance(sample, BadFile):
            bad_files.append(sample)
            continue
        assert isinstance(sample, Mapping)
        name = Path(sample["gt_path"]).name
        try:
            rows.append(_measure_sample(sample, models, bounds, mask, device))
            images.append(name)
        except DataError as error:
            bad_files.append(BadFile(name, str(error)))
    if not images:
        raise DataError("no image could be measured:\n" + describe_bad_files(bad_files))
    return BandErrors(names, bounds, tuple(images), np.stack(rows, axis=1), mask, tuple(bad_files))


def _measure_sample(
    sample: Mapping[str, Any],
    models: Sequence[Generator | ReadyResults],
    edges: tuple[float, ...],
    mask: MaskConvention,
    device: torch.device | str,
) -> np.ndarray:
    gt = sample["gt"][None].to(device)
    rows = []
    for model in models:
        result = _find_result(sample, model, gt, device)
        rows.append(compute_band_rmse(gt, result, edges, mask)[0].cpu().numpy())
    return np.stack(rows)


def _find_result(
    sample: Mapping[str, Any], model: Generator | ReadyResults, gt: Tensor, device: torch.device | str
) -> Tensor:
    if isinstance(model, ReadyResults):
        result = to_float(read_image(model.find(Path(sample["gt_path"]).name)))[None].to(device)
        # GT is cut to a multiple of the scale; results of another program may have its full size.
        if result.shape != gt.shape and tuple(result.shape[-2:]) == _uncut_size(sample["gt_path"]):
            result = result[..., : gt.shape[-2], : gt.shape[-1]]
    elif "lq" in sample:
        result = model(sample["lq"][None].to(device))
    else:
        raise DataError(f"{model.name} needs low-resolution images; give --lq or a paired --dataset_opt")
    if result.shape != gt.shape:
        raise DataError(
            f"{model.name} gave {result.shape[-1]}x{result.shape[-2]} pixels, "
            f"the ground truth has {gt.shape[-1]}x{gt.shape[-2]}"
        )
    return result


def _uncut_size(gt_path: str) -> tuple[int, int] | None:
    """Height and width of a ground truth as it lies on the disk; None for one that is no file of its own."""
    return read_image_size(gt_path) if Path(gt_path).is_file() else None
