"""What validation during training learns about spectra and critics, beside the metrics (``val.spectra``).

Everything comes from arrays that validation has at hand; nothing is drawn at random and no network changes, so that a
run ends in the same bits with it and without.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from basicsr.evaluation.critic_accuracy import Accuracy, Crop, cut_crop, judge_crops
from basicsr.metrics.metric_info import metric_options
from basicsr.metrics.spectral_distance import calculate_spectral_distance, measure_profile, measure_profiles
from basicsr.spectral.profiles import resample_profile
from basicsr.utils.dist_util import broadcast_object, gather_objects, get_dist_info

if TYPE_CHECKING:
    from basicsr.evaluation.profile_figure import ProfileFigure

logger = logging.getLogger("basicsr")

NUM_POINTS = 64
"""Points of a profile that is averaged over images."""

MAX_JUDGED = 16
"""Images of a data set of which the critics see a crop, evenly spread over it."""

FREQUENCY = (np.arange(NUM_POINTS) + 0.5) / NUM_POINTS
"""Normalised frequencies of a profile's points: 1 is the corner of the spectrum."""


@dataclass(frozen=True)
class Spectra:
    """What one validation of one data set gave.

    Attributes:
        generated: (64,) power of the generated images over :data:`FREQUENCY`, mean over images of levels in dB.
        gt: The same of the ground truth; ``None`` where there is none.
        distance: Mean spectral distance in dB; ``None`` without ground truth.
        num_images: How many images the means are over.
        critics: Each critic's accuracy by its name.
    """

    generated: np.ndarray
    gt: np.ndarray | None
    distance: float | None
    num_images: int
    critics: dict[str, Accuracy] = field(default_factory=dict)


class SpectraMonitor:
    """What stays from one validation to the next: which notices were given, and the figures that are drawn anew.

    Attributes:
        has_written: Whether this process has written to the run's file before.
    """

    def __init__(self) -> None:
        self.has_written = False
        self._told: set[tuple[str, str]] = set()
        self._figures: dict[str, ProfileFigure] = {}

    def tell_once(self, dataset: str, topic: str, text: str, *args: object) -> None:
        """Logs a notice unless this data set had one on this topic."""
        if (dataset, topic) not in self._told:
            self._told.add((dataset, topic))
            logger.warning(f"val.spectra, {dataset}: {text}", *args)

    def draw(self, dataset: str, spectra: Spectra) -> np.ndarray:
        """The profiles as a picture, (H, W, 3) uint8, RGB; see :mod:`basicsr.evaluation.profile_figure`."""
        # Imported here: matplotlib is slow to import, and only this needs it.
        from basicsr.evaluation.profile_figure import ProfileFigure

        key = f"{dataset}, GT: {spectra.gt is not None}"
        if key not in self._figures:
            self._figures[key] = ProfileFigure(f"{dataset}: mean over {spectra.num_images} images", FREQUENCY)
        return self._figures[key].draw(spectra.generated, spectra.gt)


def monitor_of(model: Any) -> SpectraMonitor | None:
    """The model's monitor, made when first asked for; ``None`` unless it trains with ``val.spectra``."""
    opt = model.opt
    if not opt.get("is_train") or not (opt.get("val") or {}).get("spectra"):
        return None
    if getattr(model, "spectra_monitor", None) is None:
        model.spectra_monitor = SpectraMonitor()
    monitor: SpectraMonitor = model.spectra_monitor
    return monitor


class SpectraCollector:
    """Collects one validation of one data set; with several ranks each collects its share.

    Args:
        model: Has ``opt``; its ``critics``, ``objective``, ``data`` and ``device`` are used where it has them.
        dataset: The data set's name.
        num_images: How many images it has on all ranks; ``None`` if unknown.
        monitor: Takes notices.
    """

    def __init__(self, model: Any, dataset: str, num_images: int | None, monitor: SpectraMonitor) -> None:
        self._model = model
        self._tell: Callable[..., None] = lambda topic, text, *args: monitor.tell_once(dataset, topic, text, *args)
        self._stride = max(1, math.ceil((num_images or 1) / MAX_JUDGED))
        self._device = getattr(model, "device", torch.device("cpu"))
        self._scale = int(model.opt.get("scale") or 1)
        self._metrics = listed_distances((model.opt.get("val") or {}).get("metrics"))
        self._protocol = _protocol_of(self._metrics.values(), self._scale)
        self._rows: dict[int, Tensor] = {}  # on the device until the end: levels, GT's levels, distance
        self._crops: dict[int, Crop] = {}

    def add(
        self, index: int, visuals: Mapping[str, Tensor], result: np.ndarray, gt: np.ndarray | None
    ) -> dict[str, float]:
        """Takes one image.

        Args:
            index: Its number in the data set.
            visuals: ``result`` and, where known, ``lq`` and ``gt``: (1, C, H, W) in [0, 1], on the CPU.
            result: The generated image, uint8.
            gt: The ground truth, uint8, or ``None``.

        Returns:
            Those of the metrics in ``val.metrics`` that its spectra give: they need not be measured again.
        """
        if gt is None:
            self._tell("gt", "there is no ground truth: only the profile of the generated images is kept")
        elif getattr(self._model, "critics", None) and index % self._stride == 0:
            self._take_crop(index, visuals)
        try:
            return self._take_levels(index, result, gt)
        except ValueError as error:
            self._tell("size", "an image has no profile and is left out (%s)", error)
            return {}

    def _take_levels(self, index: int, result: np.ndarray, gt: np.ndarray | None) -> dict[str, float]:
        if gt is None:
            level, size = measure_profile(result, **self._protocol, device=self._device)
            self._rows[index] = resample_profile(level, size, NUM_POINTS)[0]
            return {}
        pair = measure_profiles(result, gt, **self._protocol, device=self._device)
        generated, reference = (resample_profile(x, pair.size, NUM_POINTS)[0] for x in (pair.level, pair.reference))
        self._rows[index] = torch.cat([generated, reference, pair.distance()])
        same = {name: options for name, options in self._metrics.items() if _without_band(options) == self._protocol}
        return {name: float(pair.distance(options["band"])) for name, options in same.items()}

    def _take_crop(self, index: int, visuals: Mapping[str, Tensor]) -> None:
        size = training_size(self._model.opt)
        if size is None:
            self._tell("gt_size", "the options have no gt_size, so critics are not judged")
            return
        crop = cut_crop(visuals, size, self._scale)
        if crop is None:
            text = "images smaller than the critics' %dx%d pixels (gt_size) are not shown to them"
            self._tell("small", text, size, size)
        elif index // self._stride < MAX_JUDGED:
            self._crops[index] = crop

    def finish(self) -> Spectra | None:
        """What all ranks have collected, on all ranks, which must all call this; ``None`` if there was no image."""
        rows: dict[int, np.ndarray] = {}
        crops: dict[int, Crop] = {}
        own_rows = {index: row.cpu().double().numpy() for index, row in self._rows.items()}
        for some_rows, some_crops in gather_objects((own_rows, self._crops)):
            rows |= some_rows
            crops |= some_crops
        # One process judges, as its networks are those that are saved: running statistics may differ between ranks.
        is_judge = get_dist_info()[0] == 0
        judged = judge_crops(self._model, [crops[index] for index in sorted(crops)]) if is_judge and crops else {}
        critics = broadcast_object(judged)
        return _average([rows[index] for index in sorted(rows)], critics)


def _average(rows: list[np.ndarray], critics: dict[str, Accuracy]) -> Spectra | None:
    """Means over the images that have ground truth; over all where none has."""
    complete = [row for row in rows if len(row) > NUM_POINTS]
    if not rows:
        return None
    if not complete:
        return Spectra(np.mean(rows, axis=0), None, None, len(rows), critics)
    mean = np.mean(complete, axis=0)
    generated, gt = mean[:NUM_POINTS], mean[NUM_POINTS : 2 * NUM_POINTS]
    return Spectra(generated, gt, float(mean[-1]), len(complete), critics)


def training_size(opt: Mapping[str, Any]) -> int | None:
    """Side in pixels of the GT crops that the model trains on, as the option file says it in one of three places."""
    sources = (opt.get("degradation") or {}, opt, (opt.get("datasets") or {}).get("train") or {})
    return next((int(source["gt_size"]) for source in sources if source.get("gt_size")), None)


def listed_distances(metrics: Mapping[str, Mapping[str, Any]] | None) -> dict[str, dict[str, Any]]:
    """All arguments of each metric in ``val.metrics`` that is a spectral distance."""
    kind = calculate_spectral_distance.__name__
    defaults = {"test_y_channel": True, "band": "all", "input_order": "HWC"}
    listed = {name: block for name, block in (metrics or {}).items() if block.get("type") == kind}
    return {name: {**defaults, **metric_options(block)} for name, block in listed.items()}


def _without_band(options: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "band"}


def _protocol_of(listed: Iterable[Mapping[str, Any]], scale: int) -> dict[str, Any]:
    """How spectra are measured: as the first spectral distance in ``val.metrics``, else of luma, ``scale`` px cut."""
    for options in listed:
        return _without_band(options)
    return {"crop_border": scale, "test_y_channel": True, "input_order": "HWC"}
