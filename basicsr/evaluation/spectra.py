"""Spectra and accuracy of critics in validation during training, beside the metrics (``val.spectra``).

Everything comes from images that validation has at hand; nothing is drawn at random and no network changes, so that a
run ends in the same bits with it and without. It goes to the log, to TensorBoard, and to ``spectra.jsonl``, which has a
line for every validation.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from basicsr.evaluation.critic_accuracy import Accuracy, CriticPanel, Crop, cut_crop
from basicsr.evaluation.dataset_images import GENERATOR, MeasuredImage
from basicsr.evaluation.event_pictures import show_picture
from basicsr.metrics import Metric
from basicsr.metrics.metric_util import check_pair
from basicsr.metrics.spectral_distance import calculate_spectral_distance, measure_spectrum
from basicsr.spectral.profiles import Band, ProfilePair, resample_profile
from basicsr.utils.atomic import atomic_write_text
from basicsr.utils.dist_util import broadcast_object, gather_objects, get_dist_info
from basicsr.utils.errors import count

if TYPE_CHECKING:
    from basicsr.evaluation.profile_figure import ProfileFigure

logger = logging.getLogger("basicsr")

FILE = "spectra.jsonl"
DIGITS = 4

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
        is_listed: Whether the distance stands among the metrics.
    """

    generated: np.ndarray
    gt: np.ndarray | None
    distance: float | None
    num_images: int
    critics: dict[str, Accuracy] = field(default_factory=dict)
    is_listed: bool = False


@dataclass
class SpectraMonitor:
    """What stays from one validation to the next: which notices were given, and figures that are drawn again each time.

    Attributes:
        file: ``spectra.jsonl`` of the run; ``None`` writes none.
        scale: GT pixels per LQ pixel.
        critics: The critics, or ``None``.
        crop_size: Side in pixels of the GT crops that they train on; ``None`` if unknown.
    """

    file: Path | None = None
    scale: int = 1
    critics: CriticPanel | None = None
    crop_size: int | None = None
    _has_written: bool = field(default=False, init=False)
    _told: set[tuple[str, str]] = field(default_factory=set, init=False)
    _figures: dict[tuple[str, bool], ProfileFigure] = field(default_factory=dict, init=False)
    _references: dict[object, Tensor] = field(default_factory=dict, init=False)

    def measure_reference(self, images: Tensor, **protocol: Any) -> Tensor:
        """Levels (1, R) of a ground truth, which on a CPU are found once a run: most images come again unchanged."""
        if images.device.type != "cpu":
            return measure_spectrum(images, **protocol)[0]
        key = crc32(images.contiguous().numpy().data), images.shape, *sorted(protocol.items())
        if key not in self._references:
            self._references[key] = measure_spectrum(images, **protocol)[0]
        return self._references[key]

    def tell_once(self, dataset: str, topic: str, text: str, *args: object) -> None:
        """Logs a notice unless this data set had one on this topic."""
        if (dataset, topic) not in self._told:
            self._told.add((dataset, topic))
            logger.warning(f"val.spectra, {dataset}: {text}", *args)

    def record(self, dataset: str, spectra: Spectra, current_iter: int, tb_logger: Any = None) -> list[str]:
        """Writes one validation to TensorBoard and, on rank 0, to the run's file.

        Returns:
            Lines for the log; the distance is left out if it stands among the metrics.
        """
        # Tell what is new beside the metrics.
        values = {} if spectra.distance is None else {f"spectra/{dataset}/distance": spectra.distance}
        is_told = spectra.distance is None or spectra.is_listed
        lines = [] if is_told else [f"  # spectral distance: {spectra.distance:.4f} dB"]
        for name, (real, generated, _) in spectra.critics.items():
            lines.append(f"  # accuracy of critic {name}: {real:.1%} on real, {generated:.1%} on generated images")
            values[f"critics/{dataset}/{name}_accuracy_real"] = real
            values[f"critics/{dataset}/{name}_accuracy_generated"] = generated
        # Show it in TensorBoard, with the profiles as a picture.
        if tb_logger is not None:
            for tag, value in values.items():
                tb_logger.add_scalar(tag, value, current_iter)
            # Imported here: matplotlib is slow to import, and only this needs it.
            from basicsr.evaluation.profile_figure import ProfileFigure

            key = dataset, spectra.gt is not None
            if key not in self._figures:
                title = f"{dataset}: mean over {count(spectra.num_images, 'image')}"
                self._figures[key] = ProfileFigure(title, FREQUENCY, has_reference=spectra.gt is not None)
            picture = self._figures[key].draw(spectra.generated, spectra.gt)
            show_picture(tb_logger, f"spectra/{dataset}/profile", picture, current_iter)
        # Add a line to the run's file: numbers are rounded, and null where they are not finite.
        if self.file is not None and get_dist_info()[0] == 0:
            if not self._has_written:
                # Take out the lines that a resumed run writes again, and any that a crash has torn.
                self._has_written = True
                former = self.file.read_bytes().decode(errors="replace").splitlines() if self.file.is_file() else []
                kept = []
                for line in former:
                    with suppress(ValueError, KeyError, TypeError):
                        if int(json.loads(line)["iteration"]) < current_iter:
                            kept.append(f"{line}\n")
                atomic_write_text("".join(kept), self.file)
            keys = ("accuracy_real", "accuracy_generated", "images")
            entry = {
                "iteration": current_iter,
                "dataset": dataset,
                "images": spectra.num_images,
                "distance_db": _round(spectra.distance),
                "critics": {name: dict(zip(keys, accuracy)) for name, accuracy in spectra.critics.items()},
                "frequency": _round(FREQUENCY),
                "generated_db": _round(spectra.generated),
                "gt_db": _round(spectra.gt),
            }
            with self.file.open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")
        return lines


class SpectraCollector:
    """Collects one validation of one data set; with several ranks each collects its share.

    Args:
        monitor: Knows the critics and takes notices.
        dataset: The data set's name.
        num_images: How many images it has on all ranks; 0 if unknown.
        metrics: What is measured beside: spectra are taken as the first spectral distance is, else of luma, with
            ``scale`` pixels cut off each side.
    """

    def __init__(self, monitor: SpectraMonitor, dataset: str, num_images: int, metrics: Mapping[str, Metric]) -> None:
        self._monitor = monitor
        self._tell = partial(monitor.tell_once, dataset)
        self._stride = max(1, math.ceil(num_images / MAX_JUDGED))
        # The band of each metric that is a spectral distance, and the options that say how spectra are taken for it.
        listed: dict[str, tuple[Band, dict[str, Any]]] = {}
        for name, metric in metrics.items():
            if metric.name == calculate_spectral_distance.__name__:
                protocol = {"test_y_channel": True, **metric.options}
                protocol.pop("input_order", None)
                listed[name] = protocol.pop("band", "all"), protocol
        self._is_listed = bool(listed)
        unlisted = {"crop_border": monitor.scale, "test_y_channel": True}
        self._protocol = next((protocol for _, protocol in listed.values()), unlisted)
        # Metrics that the same spectra give need not be measured again.
        self._bands = {name: band for name, (band, protocol) in listed.items() if protocol == self._protocol}
        self._rows: dict[int, Tensor] = {}  # on the device until the end: levels, GT's levels, distance
        self._crops: dict[int, Crop] = {}

    def add(self, image: MeasuredImage) -> dict[str, Tensor]:
        """Takes one image; returns those of the metrics that its spectra give, ``(1,)`` each."""
        # Keep its centre for the critics.
        side, scale = self._monitor.crop_size, self._monitor.scale
        if image.gt is None:
            self._tell("gt", "there is no ground truth: only the profile of the generated images is kept")
        elif self._monitor.critics is not None and image.sr is not None and image.index % self._stride == 0:
            if side is None:
                self._tell("gt_size", "the options have no gt_size, so critics are not judged")
            elif (crop := cut_crop(image.lq, image.gt, image.sr, side, scale)) is None:
                text = "images smaller than the critics' %dx%d pixels (gt_size) are not shown to them"
                self._tell("small", text, side, side)
            elif image.index // self._stride < MAX_JUDGED:
                self._crops[image.index] = crop
        # Keep its profile, and GT's and their distance where there is GT.
        sr = image.levels[GENERATOR]
        try:
            if image.gt_levels is None:
                level, size = measure_spectrum(sr.batch, **self._protocol)
                self._rows[image.index] = resample_profile(level, size, NUM_POINTS)[0]
                return {}
            check_pair(sr.batch, image.gt_levels.batch)
            level, size = measure_spectrum(sr.batch, **self._protocol)
            reference = self._monitor.measure_reference(image.gt_levels.batch, **self._protocol)
            pair = ProfilePair(level, reference, size)
        except ValueError as error:
            self._tell("size", "an image has no profile and is left out (%s)", error)
            return {}
        generated, gt = (resample_profile(x, pair.size, NUM_POINTS)[0] for x in (pair.level, pair.reference))
        self._rows[image.index] = torch.cat([generated, gt, pair.distance()])
        known = {}
        for name, band in self._bands.items():
            # Of an image too small for the band, the metric itself says so.
            with suppress(ValueError):
                known[name] = pair.distance(band)
        return known

    def finish(self) -> Spectra | None:
        """What all ranks have collected, on all ranks, which must all call this; ``None`` if there was no image."""
        # Kept on the device until here, so that nothing waits for it in between.
        own_rows = {index: row.cpu().double().numpy() for index, row in self._rows.items()}
        own_crops = {index: (lq.cpu(), gt.cpu(), sr.cpu()) for index, (lq, gt, sr) in self._crops.items()}
        shares = gather_objects((own_rows, own_crops))
        rows = {index: row for share, _ in shares for index, row in share.items()}
        crops = {index: crop for _, share in shares for index, crop in share.items()}
        # One process judges, as its networks are those that are saved: running statistics may differ between ranks.
        judge = self._monitor.critics if crops and get_dist_info()[0] == 0 else None
        critics = broadcast_object(judge.judge([crops[index] for index in sorted(crops)]) if judge else {})
        if not rows:
            return None
        # Means are over the images that have ground truth; over all where none has.
        ordered = [rows[index] for index in sorted(rows)]
        complete = [row for row in ordered if len(row) > NUM_POINTS]
        mean = np.mean(complete or ordered, axis=0)
        if not complete:
            return Spectra(mean, None, None, len(ordered), critics)
        generated, gt, distance = mean[:NUM_POINTS], mean[NUM_POINTS:-1], float(mean[-1])
        return Spectra(generated, gt, distance, len(complete), critics, self._is_listed)


def training_size(opt: Mapping[str, Any]) -> int | None:
    """Side in pixels of the GT crops that the model trains on, as the option file says it in one of three places."""
    for path in (("degradation", "gt_size"), ("gt_size",), ("datasets", "train", "gt_size")):
        value: Any = opt
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        if value:
            return int(value)
    return None


def _round(values: np.ndarray | float | None) -> Any:
    if isinstance(values, np.ndarray):
        return [_round(float(value)) for value in values]
    return round(values, DIGITS) if values is not None and math.isfinite(values) else None
