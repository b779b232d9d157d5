"""The end of a run: bicubic interpolation and the trained generator, image by image, as table, JSON and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from torch import Tensor

from basicsr.evaluation.pictures import WINDOW, caption_of, draw_comparison, enlarge_nearest, find_window
from basicsr.evaluation.scores import Evaluation, Scores
from basicsr.evaluation.validation import Measured, evaluate_model, measure, record
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.img_util import tensor2img
from basicsr.utils.logger import get_root_logger
from basicsr.utils.matlab_functions import imresize
from basicsr.utils.tables import format_table, write_json

BASELINE = "bicubic"
GENERATOR = "net_g"
MEAN = "mean"
MAX_PICTURES = 8
MAX_ROWS = 40


@dataclass(frozen=True)
class Comparison:
    """Several methods on one data set.

    Attributes:
        dataset: The data set's name.
        methods: Every method's evaluation.
    """

    dataset: str
    methods: dict[str, Evaluation]

    @property
    def protocols(self) -> dict[str, str]:
        """For each metric one line that says how it was measured."""
        return {name: line for evaluation in self.methods.values() for name, line in evaluation.protocols.items()}

    def by_image(self) -> dict[str, dict[str, Scores]]:
        """``{image: {method: {metric: value}}}``."""
        names = dict.fromkeys(name for evaluation in self.methods.values() for name in evaluation.images)
        return {
            image: {method: found.images[image] for method, found in self.methods.items() if image in found.images}
            for image in names
        }


def upscale_bicubic(lq: Tensor, scale: int) -> Tensor:
    """Enlarges (1, C, H, W) in [0, 1] as MATLAB's ``imresize`` does."""
    return imresize(lq[0].float().cpu(), scale).clamp(0, 1).unsqueeze(0)


def compare_with_baseline(opt: Mapping[str, Any], dataloader: Any, evaluation: Evaluation) -> Comparison:
    """Adds ``val.baseline`` to an evaluation, where there is ground truth to measure it with."""
    methods = {GENERATOR: evaluation}
    if (opt.get("val") or {}).get("baseline", BASELINE) and any(evaluation.images.values()):
        methods = {BASELINE: measure_bicubic(opt, dataloader), **methods}
    return Comparison(evaluation.dataset, methods)


def measure_bicubic(opt: Mapping[str, Any], dataloader: Any) -> Evaluation:
    """Measures bicubic interpolation of a data set's LQ images."""
    val = opt.get("val") or {}

    def predict(batch: Mapping[str, Any]) -> dict[str, Tensor]:
        visuals = {"lq": batch["lq"], "result": upscale_bicubic(batch["lq"], int(opt["scale"]))}
        return visuals | {"gt": batch["gt"].cpu()} if "gt" in batch else visuals

    share = bool(opt.get("dist_val", True))
    return measure(predict, dataloader, val.get("metrics"), share=share, description="Bicubic baseline")


class PictureBook:
    """Draws side-by-side pictures of the first images of a data set that have ground truth.

    Args:
        folder: Where to; the files are ``<image>_comparison.png``.
        scale: GT pixels per LQ pixel.
    """

    def __init__(self, folder: Path, scale: int) -> None:
        self.folder = folder
        self.scale = scale
        self.files: list[Path] = []

    def __call__(self, image: Measured) -> None:
        if image.gt is None or image.index >= MAX_PICTURES:
            return
        lq = image.visuals["lq"]
        bicubic = tensor2img(upscale_bicubic(lq, self.scale))
        images = {
            "LQ": enlarge_nearest(tensor2img(lq), self.scale),
            BASELINE: bicubic,
            GENERATOR: image.result,
            "GT": image.gt,
        }
        if len({np.shape(picture)[:2] for picture in images.values()}) > 1:
            return
        window = find_window(image.gt, bicubic, WINDOW)
        path = self.folder / f"{PurePosixPath(image.name)}_comparison.png"
        captions = {GENERATOR: caption_of(image.scores)}
        title = f"{image.name}: where bicubic interpolation errs most; metrics of the whole image"
        draw_comparison(path, images, captions, window, title)
        self.files.append(path)


def finish_run(model: Any, loaders: Sequence[Any], current_iter: int, tb_logger: Any = None) -> list[Comparison]:
    """Validates one last time, compares with bicubic interpolation, and writes table, ``summary.json`` and pictures.

    Args:
        model: The trained model.
        loaders: Validation sets; those without ground truth are generated and not compared.
        current_iter: The last iteration.
        tb_logger: A TensorBoard writer, or ``None``.

    Returns:
        The comparisons; all ranks must call this, rank 0 writes.
    """
    opt = model.opt
    save_img = bool((opt.get("val") or {}).get("save_img", False))
    comparisons = []
    for loader in loaders:
        book = PictureBook(_picture_folder(opt, loader, len(loaders)), int(opt["scale"]))
        evaluation = evaluate_model(model, loader, current_iter, tb_logger, save_img, on_image=book)
        record(model, evaluation, current_iter, tb_logger)
        if any(evaluation.images.values()):
            comparisons.append(compare_with_baseline(opt, loader, evaluation))
    if loaders and get_dist_info()[0] == 0:
        path = Path(opt["path"]["experiments_root"]) / "summary.json"
        write_json(summary_of(comparisons), path)
        for comparison in comparisons:
            get_root_logger().info("%s", describe(comparison))
        get_root_logger().info("Summary: %s; pictures: %s", path, opt["path"]["visualization"])
    return comparisons


def _picture_folder(opt: Mapping[str, Any], loader: Any, num_sets: int) -> Path:
    folder = Path(opt["path"]["visualization"])
    return folder / str(loader.dataset.opt.get("name", "")) if num_sets > 1 else folder


def summary_of(comparisons: Sequence[Comparison]) -> dict[str, dict[str, Scores]]:
    """``{image: {method: {metric: value}}}``; with several data sets an image is called ``<data set>/<image>``."""
    return {
        image if len(comparisons) == 1 else f"{comparison.dataset}/{image}": methods
        for comparison in comparisons
        for image, methods in comparison.by_image().items()
    }


def describe(comparison: Comparison, max_rows: int = MAX_ROWS) -> str:
    """The table of a comparison: a row for each image and method, the means, and how the metrics were measured."""
    metrics = list(comparison.protocols)
    by_image = comparison.by_image()
    shown = dict(list(by_image.items())[: max(1, max_rows // len(comparison.methods))])
    shown_rows = [
        [image, method, *(scores.get(metric) for metric in metrics)]
        for image, methods in shown.items()
        for method, scores in methods.items()
    ]
    means = [
        [MEAN, method, *(found.means.get(metric) for metric in metrics)] for method, found in comparison.methods.items()
    ]
    lines = [f"{comparison.dataset}: {len(by_image)} images"]
    lines.append(format_table(["image", "method", *metrics], [*shown_rows, *means]))
    if len(shown) < len(by_image):
        lines.append(f"({len(by_image) - len(shown)} more images are in the file)")
    lines += [f"{metric}: {line}" for metric, line in comparison.protocols.items()]
    return "\n".join(lines)
