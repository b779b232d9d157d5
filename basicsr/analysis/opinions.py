"""Mean opinion scores: the guide files that list them, and how well the scores of critics agree with them.

Agreement is measured by four correlations, each with a bootstrap interval over images.
"""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.polynomial import Polynomial
from numpy.typing import ArrayLike
from scipy import stats

from basicsr.analysis.images import BadFile
from basicsr.utils.errors import DataError
from basicsr.utils.seeding import KeyPart, numpy_rng

FIT_ORDER = 3
MIN_SCORES = 3
MIN_FITTED = FIT_ORDER + 2
"""Fewest scores with a fitted correlation: a cubic passes through four points whatever they are."""
MIN_RESAMPLED = 20
"""Fewest scores with intervals: of two correlated normal variables, "95%" intervals of the fitted correlation cover
the true one 76% of the time at 15 scores, 86% at 20 and 93% at 50; at 10 most of them end at 1."""


class Guide(NamedTuple):
    """Mean opinion scores by image name, in file order, and the lines that could not be read."""

    scores: Mapping[str, float]
    bad_lines: tuple[BadFile, ...] = ()

    def find_images(self, folder: str | os.PathLike[str]) -> tuple[dict[str, Path], list[BadFile]]:
        """The files in a folder of the images it names, by name, and the names without a file.

        Raises:
            DataError: If the folder is missing, or holds none of the images.
        """
        root = Path(folder)
        if not root.is_dir():
            raise DataError(f"no such folder: {root}")
        paths = {name: root / name for name in self.scores if (root / name).is_file()}
        missing = [BadFile(name, f"no such file in {root}") for name in self.scores if name not in paths]
        if not paths:
            raise DataError(f"{root} holds none of the images in the guide file, such as {missing[0].name}")
        return paths, missing


def read_guide(path: str | os.PathLike[str]) -> Guide:
    """Reads a guide file: ``image_name,MOS`` per line; blank lines and a header are passed over.

    Lines without a score, with a score that is not a number, or with a name given before are listed, not fatal.

    Raises:
        DataError: If the file cannot be read or holds no score at all.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"guide file {path} cannot be read: {error}") from error
    scores: dict[str, float] = {}
    bad: list[BadFile] = []
    for number, line in enumerate(text.splitlines(), start=1):
        # The last comma separates: names of images may contain others.
        name, comma, score = (part.strip() for part in line.rpartition(","))
        try:
            value = float(score)
        except ValueError:
            value = math.nan
            # The first line may be a header: words without the dot of a file name.
            if not line.strip() or (number == 1 and comma and "." not in name):
                continue
        if not name:
            problem = "no score; expected 'image_name,MOS'"
        elif not math.isfinite(value):
            problem = "the score is not a number"
        elif name in scores:
            problem = "the name was given before"
        else:
            scores[name] = value
            continue
        bad.append(BadFile(f"{Path(path).name}, line {number}", f"{problem}: {line.strip()!r}"))
    if not scores:
        shown = "\n".join(f"  {line}" for line in bad[:5])
        raise DataError(f"guide file {path} holds no line 'image_name,MOS'\n{shown}".rstrip())
    return Guide(scores, tuple(bad))


@dataclass(frozen=True)
class Correlation:
    """A correlation with its confidence interval.

    Attributes:
        value: On all scores; ``nan`` where it is undefined.
        low: Lower end of the interval; ``nan`` of fewer than :data:`MIN_RESAMPLED` scores.
        high: Upper end of the interval; likewise.
        confidence: Its coverage, e.g. 0.95.
        num_scores: Number of images.
    """

    value: float
    low: float
    high: float
    confidence: float
    num_scores: int

    def __str__(self) -> str:
        if math.isnan(self.value):
            return "–"
        return f"{self.value:.4f}" if math.isnan(self.low) else f"{self.value:.4f} [{self.low:.4f}, {self.high:.4f}]"


def plcc(pred: ArrayLike, mos: ArrayLike) -> float:
    """Pearson's linear correlation coefficient.

    Args:
        pred: Scores, ``(N,)``.
        mos: Mean opinion scores, ``(N,)``.

    Returns:
        A number in [-1, 1].

    Raises:
        ValueError: If lengths differ, there are fewer than three scores, one is not finite, or all are equal.
    """
    x, y = (values - values.mean() for values in _check(pred, mos))
    return float(np.clip(x @ y / np.linalg.norm(x) / np.linalg.norm(y), -1, 1))


def fit_polynomial(pred: ArrayLike, mos: ArrayLike) -> Polynomial:
    """The third-order least-squares polynomial of ``mos`` on ``pred`` that :func:`plcc_fitted` uses, for plots too."""
    x, y = _check(pred, mos, MIN_FITTED)
    # With ``full`` a fit that scores close to each other leave ill-conditioned comes without a warning.
    return Polynomial.fit(x, y, min(FIT_ORDER, np.unique(x).size - 1), full=True)[0]


def plcc_fitted(pred: ArrayLike, mos: ArrayLike) -> float:
    """Pearson's coefficient after a least-squares polynomial of third order maps ``pred`` to ``mos``.

    It is the root of the share of variance that the polynomial explains: its correlation with ``mos``, which it fits.
    Arguments and errors are those of :func:`plcc`; fewer than :data:`MIN_FITTED` scores are an error too.
    """
    x, y = _check(pred, mos, MIN_FITTED)
    unexplained = np.var(y - fit_polynomial(x, y)(x)) / np.var(y)
    return math.sqrt(max(0.0, 1 - unexplained))


def srcc(pred: ArrayLike, mos: ArrayLike) -> float:
    """Spearman's rank correlation coefficient, ties at their mean rank.

    Arguments and errors are those of :func:`plcc`.
    """
    return plcc(*map(stats.rankdata, _check(pred, mos)))


def krcc(pred: ArrayLike, mos: ArrayLike) -> float:
    """Kendall's rank correlation coefficient τ-b.

    Arguments and errors are those of :func:`plcc`.
    """
    # The method is that of the p-value, which nobody reads; the exact one takes long.
    return float(stats.kendalltau(*_check(pred, mos), method="asymptotic").statistic)


_STATISTICS = {statistic.__name__: statistic for statistic in (plcc, plcc_fitted, srcc, krcc)}


def correlate(
    pred: ArrayLike,
    mos: ArrayLike,
    key: tuple[KeyPart, ...] = (),
    num_resamples: int = 1000,
    confidence: float = 0.95,
) -> dict[str, Correlation]:
    """All four correlations with percentile bootstrap intervals over images.

    All statistics see the same resamples, so two critics scored on the same images with the same key may be compared.
    Resamples in which a correlation is undefined (all scores equal) are left out of its interval. What so few scores
    cannot tell is ``nan``: see :data:`MIN_FITTED` and :data:`MIN_RESAMPLED`.

    Source: B. Efron, R. J. Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.

    Args:
        pred: Scores, ``(N,)``.
        mos: Mean opinion scores, ``(N,)``.
        key: What the random draws depend on, e.g. ``(seed, test set)``.
        num_resamples: Number of resamples.
        confidence: Coverage of the intervals.

    Returns:
        ``plcc``, ``plcc_fitted``, ``srcc`` and ``krcc``.

    Raises:
        ValueError: As :func:`plcc`; or if ``num_resamples`` or ``confidence`` are out of range.
    """
    if num_resamples < 1 or not 0 < confidence < 1:
        raise ValueError(f"expected num_resamples >= 1 and 0 < confidence < 1, got {num_resamples} and {confidence}")
    x, y = _check(pred, mos)
    rng = numpy_rng("bootstrap", *key)
    # One resample at a time: memory does not grow with their number.
    resampled: dict[str, list[float]] = {name: [] for name in _STATISTICS}
    for _ in range(num_resamples if x.size >= MIN_RESAMPLED else 0):
        draw = rng.integers(0, x.size, x.size)
        if np.ptp(x[draw]) > 0 and np.ptp(y[draw]) > 0:
            for name, statistic in _STATISTICS.items():
                resampled[name].append(statistic(x[draw], y[draw]))
    results = {}
    for name, statistic in _STATISTICS.items():
        value = math.nan if name == "plcc_fitted" and x.size < MIN_FITTED else statistic(x, y)
        tails = [(1 - confidence) / 2, (1 + confidence) / 2]
        low, high = np.quantile(resampled[name] or [math.nan], tails)
        results[name] = Correlation(value, float(low), float(high), confidence, x.size)
    return results


def _check(pred: ArrayLike, mos: ArrayLike, least: int = MIN_SCORES) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(pred, np.float64), np.asarray(mos, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected one score and one MOS per image, got shapes {x.shape} and {y.shape}")
    if x.size < MIN_SCORES:
        raise ValueError(f"a correlation needs at least {MIN_SCORES} scored images, got {x.size}")
    for name, values in (("score", x), ("MOS", y)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(f"scores must be finite; the {name} at position {bad[0]} is {values[bad[0]]}")
        if np.ptp(values) == 0:
            raise ValueError(f"the correlation is undefined: every {name} is {values[0]:g}")
    if x.size < least:
        raise ValueError(f"a cubic fits any four points; it needs at least {least} scored images, got {x.size}")
    return x, y
