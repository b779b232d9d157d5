"""A synthetic ladder of quality: photographs that no run has seen, blurred, noisy or compressed in growing strength."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from scipy.stats import spearmanr

from basicsr.analysis.images import Runtime
from basicsr.analysis.quality_critic import load_critic
from basicsr.analysis.scorer import CropPlan, Judge, score_images
from basicsr.data.degradations import add_jpg_compression
from basicsr.preparation.photographs import load_photograph
from basicsr.utils.images import write_png
from basicsr.utils.seeding import numpy_rng

PHOTOGRAPHS = ("astronaut", "motorcycle", "hubble_deep_field", "retina", "coins")
"""None of them is trained on."""

STRENGTHS: dict[str, tuple[float, ...]] = {
    "blur": (0.6, 1.0, 1.6, 2.4, 3.6),
    "noise": (5, 10, 20, 30, 50),
    "jpeg": (80, 60, 40, 20, 10),
}
"""Standard deviation of a Gaussian in pixels; of white noise in grey levels of 255; JPEG's quality. Mildest first."""

MAX_SIDE = 512
NUM_CROPS = 20


@dataclass(frozen=True)
class Rung:
    """One image of the ladder.

    Attributes:
        photograph: What it shows.
        kind: A key of :data:`STRENGTHS`.
        level: 0 for the untouched photograph, then 1 (mildest) to 5.
    """

    photograph: str
    kind: str
    level: int

    @property
    def file_name(self) -> str:
        """Untouched photographs are one file for all kinds."""
        return f"{self.photograph}_{self.kind}{self.level}.png" if self.level else f"{self.photograph}.png"


def list_rungs() -> list[Rung]:
    return [
        Rung(photograph, kind, level)
        for photograph in PHOTOGRAPHS
        for kind in STRENGTHS
        for level in range(len(STRENGTHS[kind]) + 1)
    ]


def make_ladder(folder: Path) -> None:
    """Writes every image of the ladder that is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    for photograph in PHOTOGRAPHS:
        missing = [r for r in list_rungs() if r.photograph == photograph and not (folder / r.file_name).is_file()]
        clean = _load(photograph) if missing else None
        for rung in missing:
            write_png(degrade(clean, rung), folder / rung.file_name)


def _load(photograph: str) -> np.ndarray:
    """(H, W, 3) BGR uint8, at most ``MAX_SIDE`` pixels a side."""
    image = load_photograph(photograph)
    if image.ndim == 2:
        image = np.repeat(image[..., None], 3, axis=2)
    factor = MAX_SIDE / max(image.shape[:2])
    if factor < 1:
        image = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
    return image


def degrade(image: np.ndarray, rung: Rung) -> np.ndarray:
    """Applies a rung's degradation to (H, W, 3) BGR uint8."""
    if rung.level == 0:
        return image
    value = STRENGTHS[rung.kind][rung.level - 1]
    if rung.kind == "blur":
        return cv2.GaussianBlur(image, (0, 0), value)
    if rung.kind == "jpeg":
        degraded = add_jpg_compression(image.astype(np.float32) / 255, value) * 255
    else:
        noise = numpy_rng("ladder", rung.photograph).standard_normal(image.shape)
        degraded = image + value * noise
    return np.clip(np.rint(degraded), 0, 255).astype(np.uint8)


def score_ladder(folder: Path, experiment: Path, device: str) -> dict[str, dict[str, float]]:
    """Scores every file by a run's critics and their sum: ``{critic: {file: score}}``; a higher score is better."""
    judges = {}
    for label, load_name in (("D", "net_d"), ("S", "net_spectral_d")):
        critic = load_critic(experiment, load_name, name=label, device=device)
        judges[label] = Judge(critic, CropPlan("random", critic.input_size, n_ensemble=NUM_CROPS))
    files = sorted({folder / rung.file_name for rung in list_rungs()})
    scores = score_images(files, judges, Runtime(batch_size=32, device=device))
    return {critic: dict(zip(scores.images, map(float, values))) for critic, values in scores.scores.items()}


def rank_agreement(scores: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """How well a critic's scores fall with growing strength.

    Args:
        scores: Score by file name.

    Returns:
        For each kind: ``within``, Spearman's correlation of score and mildness over the six images of a photograph,
        mean over photographs; and ``across``, the same over all thirty images.
    """
    return {
        kind: {
            "within": float(np.mean([_correlate(scores, kind, lambda name, p=p: name == p) for p in PHOTOGRAPHS])),
            "across": _correlate(scores, kind, lambda name: True),
        }
        for kind in STRENGTHS
    }


def _correlate(scores: Mapping[str, float], kind: str, wanted: Callable[[str], bool]) -> float:
    rungs = [rung for rung in list_rungs() if rung.kind == kind and wanted(rung.photograph)]
    return float(spearmanr([scores[rung.file_name] for rung in rungs], [-rung.level for rung in rungs]).statistic)
