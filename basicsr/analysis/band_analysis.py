"""Band errors of several models over a data set (Table 1 of arXiv 2307.12027)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from basicsr.analysis.arguments import refuse_equal_labels
from basicsr.analysis.experiments import SOURCE, write_report
from basicsr.analysis.generators import Model, ReadyResults
from basicsr.analysis.images import SERIAL, BadFile, Group, Runtime, measure_items, read_image, to_float
from basicsr.evaluation.dataset_images import name_images
from basicsr.evaluation.tables import format_table
from basicsr.spectral.bands import TABLE_EDGES, MaskConvention, check_edges, compute_band_rmse
from basicsr.utils.errors import DataError, UserError
from basicsr.utils.images import read_image_size

PairedSource = Sequence[Mapping[str, Any]]
"""Samples with ``gt`` and, for models that run, ``lq`` (3, H, W) in [0, 1], and ``gt_path``; a data set will do."""


class BandErrors(NamedTuple):
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
        rows = [[model, *row.tolist()] for model, row in zip(self.models, self.mean)]
        return format_table([f"magnitude RMSE, {len(self.images)} images", *self.band_names], rows)

    def write(self, base: str | os.PathLike[str], source: Mapping[str, Any] | None = None) -> list[Path]:
        """Writes ``<base>.json`` (means, and what they came from: ``source``) and ``<base>.csv`` (every image).

        Returns:
            Their paths.
        """
        content: dict[str, object] = {"edges": self.edges, "mask": self.mask, "num_images": len(self.images)}
        content["mean_rmse"] = dict(zip(self.models, self.mean))
        content |= {"bad_files": [bad._asdict() for bad in self.bad_files], SOURCE: source or {}}
        rmse = dict(zip(self.models, self.rmse.tolist()))
        names = list(zip(name_images(self.images), self.images))
        rows = [[*name, model, *rmse[model][index]] for index, name in enumerate(names) for model in rmse]
        header = ["image", "file", "model", *(f"rmse_{name}" for name in self.band_names)]
        return write_report(base, content, header, rows)


@torch.inference_mode()
def measure_band_errors(
    source: PairedSource,
    models: Sequence[Model],
    edges: Sequence[float] = TABLE_EDGES,
    mask: MaskConvention = "published",
    runtime: Runtime = SERIAL,
) -> BandErrors:
    """Measures every model on every image of a paired data set; images are read once.

    Outputs are not rounded to 8 bit. An image that cannot be read, or on which a model fails, is left out for all.

    Args:
        source: Pairs of images.
        models: Models that run on ``lq``, or folders of results.
        edges: Band edges; the last band includes its upper edge.
        mask: ``published`` for numbers like those of the paper; ``symmetric`` measures radius from zero frequency, in
            cycles per pixel.
        runtime: Decoding processes, and where models run.

    Raises:
        UserError: If there is no model or two have one name.
        DataError: If no image could be used.
    """
    names = tuple(model.name for model in models)
    refuse_equal_labels(names, "models", "LABEL=MODEL")
    bounds = check_edges(edges)
    bad_files: list[BadFile] = []

    def measure(group: Group[Mapping[str, Any]]) -> dict[int, tuple[str, np.ndarray] | BadFile]:
        found: dict[int, tuple[str, np.ndarray] | BadFile] = {}
        for place, sample in group:
            name = Path(sample["gt_path"]).name
            try:
                found[place] = name, _measure_sample(sample, models, bounds, mask, runtime.device)
            except DataError as error:
                found[place] = BadFile(name, str(error))
        return found

    read = partial(_read_sample, source)
    rows = [row for _, row in measure_items(range(len(source)), read, measure, bad_files, runtime.num_workers)]
    rmse = np.stack([errors for _, errors in rows], axis=1)
    return BandErrors(names, bounds, tuple(name for name, _ in rows), rmse, mask, tuple(bad_files))


def _measure_sample(
    sample: Mapping[str, Any],
    models: Sequence[Model],
    bounds: tuple[float, ...],
    mask: MaskConvention,
    device: torch.device | str,
) -> np.ndarray:
    """The errors of every model on one image: (models, bands).

    Raises:
        DataError: If one of them gives no image, or one of another size.
    """
    gt, gt_path = sample["gt"][None].to(device), Path(sample["gt_path"])
    errors = []
    for model in models:
        if isinstance(model, ReadyResults):
            result = to_float(read_image(model.find(gt_path.name)))[None].to(device)
            # GT is cut to a multiple of the scale; another program's results may be as large as on the disk.
            differs = result.shape != gt.shape and gt_path.is_file()
            if differs and result.shape[-2:] == read_image_size(str(gt_path)):
                result = result[..., : gt.shape[-2], : gt.shape[-1]]
        elif "lq" in sample:
            result = model(sample["lq"][None].to(device))
        else:
            raise DataError(f"{model.name} needs low-resolution images; give --lq or a paired --dataset_opt")
        if result.shape != gt.shape:
            given, expected = (f"{image.shape[-1]}x{image.shape[-2]}" for image in (result, gt))
            raise DataError(f"{model.name} gave {given} pixels, the ground truth has {expected}")
        errors.append(compute_band_rmse(gt, result, bounds, mask)[0].cpu().numpy())
    return np.stack(errors)


def _read_sample(source: PairedSource, index: int) -> Mapping[str, Any] | BadFile:
    """Reads a sample in a worker."""
    try:
        sample = source[index]
    except (UserError, OSError) as error:
        sample = {"failed": str(error)}
    if "gt" in sample:
        return sample
    # Our data sets say what they could not read in the sample itself.
    name, separator, reason = str(sample.get("failed", "no ground truth")).partition(": ")
    return BadFile(Path(name).name, reason) if separator else BadFile(f"image {index + 1}", name)
