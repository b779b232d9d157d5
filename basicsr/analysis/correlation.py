"""How well scores agree with mean opinion scores: four correlations, and bootstrap intervals of them.

A bootstrap resample is a weight per image (how often it was drawn). Every statistic is written for a stack of such
weights, ``(R, N)``, so that a thousand resamples cost a few matrix products; the plain value has all weights 1.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from basicsr.utils.seeding import KeyPart, numpy_rng

FIT_ORDER = 3
MIN_SCORES = 3
MIN_FITTED = FIT_ORDER + 2
"""Fewest scores with a fitted correlation: a cubic passes through four points whatever they are."""
MIN_RESAMPLED = 20
"""Fewest scores with intervals: of two correlated normal variables, "95%" intervals of the fitted correlation cover
the true one 76% of the time at 15 scores, 86% at 20 and 93% at 50; at 10 most of them end at 1."""

# Values in the largest temporary array: bounds memory whatever the number of images.
_CHUNK_VALUES = 1 << 22

Statistic = Callable[["_Scores", np.ndarray], np.ndarray]


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
    return _evaluate(_pearson, _Scores(*_checked(pred, mos)))


def plcc_fitted(pred: ArrayLike, mos: ArrayLike) -> float:
    """Pearson's coefficient after a least-squares polynomial of third order maps ``pred`` to ``mos``.

    Arguments and errors are those of :func:`plcc`; fewer than :data:`MIN_FITTED` scores are an error too.
    """
    return _evaluate(_fitted, _Scores(*_checked_for_fit(pred, mos)))


def fit_polynomial(pred: ArrayLike, mos: ArrayLike) -> np.polynomial.Polynomial:
    """The third-order least-squares polynomial of ``mos`` on ``pred`` that :func:`plcc_fitted` uses, for plots."""
    x, y = _checked_for_fit(pred, mos)
    return np.polynomial.Polynomial.fit(x, y, min(FIT_ORDER, np.unique(x).size - 1))


def srcc(pred: ArrayLike, mos: ArrayLike) -> float:
    """Spearman's rank correlation coefficient, ties at their mean rank.

    Arguments and errors are those of :func:`plcc`.
    """
    return _evaluate(_spearman, _Scores(*_checked(pred, mos)))


def krcc(pred: ArrayLike, mos: ArrayLike) -> float:
    """Kendall's rank correlation coefficient τ-b.

    Arguments and errors are those of :func:`plcc`.
    """
    return _evaluate(_kendall, _Scores(*_checked(pred, mos)))


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
    scores = _Scores(*_checked(pred, mos))
    resampled = _resample(scores, num_resamples if scores.size >= MIN_RESAMPLED else 0, key)
    tails = [(1 - confidence) / 2, (1 + confidence) / 2]
    results = {}
    for name, statistic in _STATISTICS.items():
        values = resampled[name][np.isfinite(resampled[name])]
        low, high = np.quantile(values, tails) if values.size else (np.nan, np.nan)
        is_defined = statistic is not _fitted or scores.size >= MIN_FITTED
        value = _evaluate(statistic, scores) if is_defined else math.nan
        results[name] = Correlation(value, float(low), float(high), confidence, scores.size)
    return results


def _resample(scores: _Scores, num_resamples: int, key: tuple[KeyPart, ...]) -> dict[str, np.ndarray]:
    """Every statistic of every resample, ``(num_resamples,)`` each."""
    rng = numpy_rng("bootstrap", *key)
    chunk = max(1, _CHUNK_VALUES // scores.size)
    values: dict[str, list[np.ndarray]] = {name: [np.empty(0)] for name in _STATISTICS}
    for start in range(0, num_resamples, chunk):
        weights = _draw_weights(rng, min(chunk, num_resamples - start), scores.size)
        for name, statistic in _STATISTICS.items():
            values[name].append(statistic(scores, weights))
    return {name: np.concatenate(parts) for name, parts in values.items()}


def _checked(pred: ArrayLike, mos: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(pred, np.float64), np.asarray(mos, np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"expected one score and one MOS per image, got shapes {x.shape} and {y.shape}")
    if x.size < MIN_SCORES:
        raise ValueError(f"a correlation needs at least {MIN_SCORES} scored images, got {x.size}")
    for name, values in (("score", x), ("MOS", y)):
        bad = np.flatnonzero(~np.isfinite(values))
        if bad.size:
            raise ValueError(
                f"{bad.size} {name} values are not finite, the first at position {bad[0]}: {values[bad[0]]}"
            )
        if np.ptp(values) == 0:
            raise ValueError(f"the correlation is undefined: every {name} is {values[0]:g}")
    return x, y


def _checked_for_fit(pred: ArrayLike, mos: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = _checked(pred, mos)
    if x.size < MIN_FITTED:
        raise ValueError(
            f"a polynomial of order {FIT_ORDER} passes through any {FIT_ORDER + 1} points: a fitted correlation needs "
            f"at least {MIN_FITTED} scored images, got {x.size}"
        )
    return x, y


class _Ties:
    """Groups of equal values, for sums over them at many weightings."""

    def __init__(self, values: np.ndarray) -> None:
        self.order = np.argsort(values, kind="stable")
        ordered = values[self.order]
        first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
        self.starts = np.flatnonzero(first)
        self.group = np.empty(values.size, np.intp)
        self.group[self.order] = np.cumsum(first) - 1

    def sums(self, weights: np.ndarray) -> np.ndarray:
        """Total weight of each group, in the order of the values: ``(R, N)`` to ``(R, groups)``."""
        return np.add.reduceat(weights[:, self.order], self.starts, axis=1)

    def ranks(self, weights: np.ndarray) -> np.ndarray:
        """Mean rank of each value when it occurs as often as its weight says, ``(R, N)``."""
        sums = self.sums(weights)
        return (np.cumsum(sums, axis=1) - (sums - 1) / 2)[:, self.group]


class _Scores:
    """Scores ``x`` and opinions ``y``, each of zero mean and unit variance, and what resampling them needs."""

    def __init__(self, x: np.ndarray, y: np.ndarray) -> None:
        self.size = x.size
        self.x, self.y = (_standardize(values) for values in (x, y))
        self.ties_x, self.ties_y = _Ties(x), _Ties(y)
        self.ties_both = _Ties(self.ties_x.group * x.size + self.ties_y.group)
        self.basis = _polynomial_basis(self.x)


def _standardize(values: np.ndarray) -> np.ndarray:
    centred = values - values.mean()
    centred /= np.abs(centred).max()
    centred -= centred.mean()
    return centred / np.sqrt(np.mean(centred**2))


def _polynomial_basis(x: np.ndarray) -> np.ndarray:
    """Orthonormal polynomials on the points ``x``, ``(N, FIT_ORDER + 1)``; zero where points are too few."""
    basis = [np.full(x.size, x.size**-0.5)]
    for _ in range(FIT_ORDER):
        # Multiplying the last one by x and orthogonalising twice (Arnoldi) stays accurate where powers of x would not.
        vector = x * basis[-1]
        scale = np.linalg.norm(vector)
        for _ in range(2):
            vector = vector - np.stack(basis, 1) @ (np.stack(basis) @ vector)
        norm = np.linalg.norm(vector)
        basis.append(vector / norm if norm > 1e-12 * scale else np.zeros_like(vector))
    return np.stack(basis, 1)


def _draw_weights(rng: np.random.Generator, num_resamples: int, size: int) -> np.ndarray:
    """How often each image occurs in each resample, ``(R, N)`` float64."""
    draws = rng.integers(0, size, (num_resamples, size)) + size * np.arange(num_resamples)[:, None]
    return np.bincount(draws.ravel(), minlength=num_resamples * size).reshape(num_resamples, size).astype(np.float64)


def _evaluate(statistic: Statistic, scores: _Scores) -> float:
    return float(statistic(scores, np.ones((1, scores.size)))[0])


def _ratio(numerator: np.ndarray, denominator: np.ndarray, scores: _Scores, weights: np.ndarray) -> np.ndarray:
    """The quotient, cut to [-1, 1]; ``nan`` where a resample holds one value of ``x`` or ``y`` only."""
    varies = (scores.ties_x.sums(weights).max(1) < scores.size) & (scores.ties_y.sums(weights).max(1) < scores.size)
    quotient = np.divide(numerator, denominator, out=np.full(len(weights), np.nan), where=varies & (denominator > 0))
    return np.clip(quotient, -1, 1)


def _pearson(scores: _Scores, weights: np.ndarray) -> np.ndarray:
    x, y, size = scores.x, scores.y, scores.size
    products = np.stack([x, y, x * y, x * x, y * y], 1)
    mean_x, mean_y, mean_xy, mean_xx, mean_yy = (weights @ products / size).T
    variances = (mean_xx - mean_x**2) * (mean_yy - mean_y**2)
    return _ratio(mean_xy - mean_x * mean_y, np.sqrt(np.maximum(variances, 0)), scores, weights)


def _fitted(scores: _Scores, weights: np.ndarray) -> np.ndarray:
    """Correlation of ``y`` with its least-squares polynomial in ``x``: the root of the share of variance explained."""
    basis, y = scores.basis, scores.y
    outer = (basis[:, :, None] * basis[:, None, :]).reshape(scores.size, -1)
    gram = (weights @ outer).reshape(-1, basis.shape[1], basis.shape[1])
    moments = weights @ (basis * y[:, None])
    coefficients = (np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ moments[:, :, None])[:, :, 0]
    mean_part = (weights @ y) ** 2 / scores.size
    explained = (coefficients * moments).sum(1) - mean_part
    total = weights @ y**2 - mean_part
    return np.sqrt(np.maximum(_ratio(explained, total, scores, weights), 0))


def _spearman(scores: _Scores, weights: np.ndarray) -> np.ndarray:
    middle = (scores.size + 1) / 2
    x, y = scores.ties_x.ranks(weights) - middle, scores.ties_y.ranks(weights) - middle
    variances = (weights * x * x).sum(1) * (weights * y * y).sum(1)
    return _ratio((weights * x * y).sum(1), np.sqrt(variances), scores, weights)


def _kendall(scores: _Scores, weights: np.ndarray) -> np.ndarray:
    """τ-b: concordant less discordant pairs, over pairs not tied in ``x`` and pairs not tied in ``y``.

    All counts are integers below 2^53 and so exact.
    """
    pairs = scores.size**2
    untied_x, untied_y, untied_both = (
        (pairs - (ties.sums(weights) ** 2).sum(1)) / 2 for ties in (scores.ties_x, scores.ties_y, scores.ties_both)
    )
    comparable = untied_x + untied_y - untied_both
    difference = comparable - 2 * _discordant_pairs(scores, weights)
    return _ratio(difference, np.sqrt(untied_x) * np.sqrt(untied_y), scores, weights)


def _discordant_pairs(scores: _Scores, weights: np.ndarray) -> np.ndarray:
    """Counts pairs that ``x`` and ``y`` order differently, by the merges of a merge sort.

    In the order of ``x`` (``y`` within ties), blocks of doubling width are split into two halves. Going down through a
    block by ``y``, every element of the right half is discordant with what was passed of the left half. The merge
    orders depend on the scores alone, so one pass serves all resamples.
    """
    x, y = scores.ties_x.group, scores.ties_y.group
    by_x = np.lexsort((y, x))
    position = np.arange(scores.size)
    total = np.zeros(len(weights))
    half = 1
    while half < scores.size:
        right = position // half % 2
        merge = np.lexsort((1 - right, -y[by_x], position // (2 * half)))
        merged = weights[:, by_x[merge]]
        is_right = right[merge].astype(np.float64)
        later = merged * is_right
        passed = np.cumsum(merged - later, axis=1)
        total += np.einsum("rn,rn->r", later, passed)
        starts = np.arange(2 * half, scores.size, 2 * half)
        if starts.size:
            # The running sum began at the first block; what lay before each other block does not count in it.
            per_block = np.add.reduceat(later, starts, axis=1)
            total -= np.einsum("rn,rn->r", per_block, passed[:, starts - 1])
        half *= 2
    return total


_STATISTICS: dict[str, Statistic] = {
    "plcc": _pearson,
    "plcc_fitted": _fitted,
    "srcc": _spearman,
    "krcc": _kendall,
}
