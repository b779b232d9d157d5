"""Correlations against the golden case and scipy, and bootstrap intervals against resampling one at a time."""

from __future__ import annotations

import numpy as np
import pytest
from golden_cases import load_case
from scipy import stats

from basicsr.analysis.opinions import correlate, fit_polynomial, krcc, plcc, plcc_fitted, srcc
from basicsr.utils.seeding import numpy_rng

GOLDEN_NAMES = {"plcc": plcc, "fitted_plcc": plcc_fitted, "srcc": srcc, "krcc": krcc}


@pytest.mark.parametrize("kind", ["plain", "ties"])
@pytest.mark.parametrize("name", GOLDEN_NAMES)
def test_golden(kind: str, name: str) -> None:
    case = load_case("metric_correlation")
    value = GOLDEN_NAMES[name](case.arrays[f"in.pred_{kind}"], case.arrays["in.mos"])
    case.check(np.float64(value), f"out.{name}.{kind}")


def reference(x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    fit = np.polynomial.Polynomial.fit(x, y, 3)(x)
    return {
        "plcc": stats.pearsonr(x, y).statistic,
        "plcc_fitted": stats.pearsonr(fit, y).statistic,
        "srcc": stats.spearmanr(x, y).statistic,
        "krcc": stats.kendalltau(x, y).statistic,
    }


def make_scores(size: int, decimals: int | None) -> tuple[np.ndarray, np.ndarray]:
    rng = numpy_rng("test scores", size)
    x = rng.normal(size=size)
    y = x**3 - x + rng.normal(size=size)
    return (x, y) if decimals is None else (np.round(x, decimals), np.round(y, decimals))


@pytest.mark.filterwarnings("ignore:The fit may be poorly conditioned")
@pytest.mark.parametrize("size", [6, 7, 33, 200])
@pytest.mark.parametrize("decimals", [None, 0, 1])
def test_equals_scipy(size: int, decimals: int | None) -> None:
    x, y = make_scores(size, decimals)
    values = {"plcc": plcc(x, y), "plcc_fitted": plcc_fitted(x, y), "srcc": srcc(x, y), "krcc": krcc(x, y)}
    for name, expected in reference(x, y).items():
        assert values[name] == pytest.approx(expected, abs=1e-10), name


def test_scale_and_offset_do_not_matter() -> None:
    x, y = make_scores(50, None)
    for factor, offset in ((1e-9, 1.0), (1e150, 0.0), (3.0, -1e6)):
        assert plcc(factor * x + offset, y) == pytest.approx(plcc(x, y), abs=1e-6)
        assert plcc_fitted(factor * x + offset, y) == pytest.approx(plcc_fitted(x, y), abs=1e-6)
        assert krcc(factor * x + offset, y) == krcc(x, y)


def test_fit_explains_a_cubic_and_sign_is_lost() -> None:
    x = np.linspace(-2, 2, 30)
    y = x**3 - 3 * x
    assert plcc_fitted(x, y) == pytest.approx(1)
    assert plcc_fitted(x, -y) == pytest.approx(1)
    np.testing.assert_allclose(fit_polynomial(x, y)(x), y, atol=1e-10)


def test_two_distinct_scores_have_a_fit() -> None:
    x, y = np.array([0.0, 0, 1, 1, 1]), np.array([1.0, 2, 3, 5, 4])
    assert plcc_fitted(x, y) == pytest.approx(plcc(x, y))
    assert fit_polynomial(x, y)(1.0) == pytest.approx(4)


@pytest.mark.slow
def test_intervals_are_percentiles_seeded_by_key(monkeypatch: pytest.MonkeyPatch) -> None:
    x, y = make_scores(60, None)
    result = correlate(x, y, key=(23, "set"), num_resamples=400)
    assert set(result) == {"plcc", "plcc_fitted", "srcc", "krcc"}
    for name, entry in result.items():
        assert entry.low < entry.value < entry.high, name
        assert entry.high <= 1
        assert (entry.confidence, entry.num_scores) == (0.95, 60)
    assert correlate(x, y, key=(23, "set"), num_resamples=400) == result
    assert correlate(x, y, key=(24, "set"), num_resamples=400) != result
    draws = numpy_rng("bootstrap", 23, "set").integers(0, 60, (400, 60))
    values = [reference(x[draw], y[draw]) for draw in draws]
    for name, entry in result.items():
        ends = np.quantile([found[name] for found in values], [0.025, 0.975])
        assert [entry.low, entry.high] == pytest.approx(ends, abs=1e-12), name
    narrower = correlate(x, y, key=(23, "set"), num_resamples=400, confidence=0.5)["plcc"]
    assert narrower.high - narrower.low < result["plcc"].high - result["plcc"].low
    assert "[" in str(result["plcc"])


def test_undefined_resamples_are_left_out() -> None:
    x, y = np.zeros(25), np.arange(25.0)
    x[0] = 1  # more than a third of all resamples do not draw it
    for entry in correlate(x, y, num_resamples=200).values():
        assert np.isfinite([entry.value, entry.low, entry.high]).all()


@pytest.mark.parametrize("size", [3, 4])
def test_a_cubic_through_every_point_is_no_agreement(size: int) -> None:
    x, y = make_scores(size, None)
    for function in (plcc_fitted, fit_polynomial):
        with pytest.raises(ValueError, match=f"at least 5 scored images, got {size}"):
            function(x, y)
    result = correlate(x, y, num_resamples=50)
    assert np.isnan(result["plcc_fitted"].value) and str(result["plcc_fitted"]) == "–"
    assert result["plcc"].value == plcc(x, y) and result["krcc"].value == krcc(x, y)
    assert np.isfinite(correlate(*make_scores(5, None))["plcc_fitted"].value)


def test_a_handful_of_images_has_no_intervals() -> None:
    for entry in correlate(*make_scores(19, None), num_resamples=50).values():
        assert np.isfinite(entry.value) and np.isnan([entry.low, entry.high]).all()
        assert str(entry) == f"{entry.value:.4f}"
    for entry in correlate(*make_scores(20, None), num_resamples=50).values():
        assert entry.low < entry.high


def test_more_images_give_narrower_intervals() -> None:
    widths = []
    for size in (30, 3000):
        entry = correlate(*make_scores(size, None), num_resamples=200)["srcc"]
        widths.append(entry.high - entry.low)
    assert widths[1] < widths[0] / 4


@pytest.mark.parametrize(
    ("pred", "mos", "message"),
    [
        ([1.0, 1, 1], [1.0, 2, 3], "every score is 1"),
        ([1.0, 2, 3], [5.0, 5, 5], "every MOS is 5"),
        ([1.0, 2], [1.0, 2], "at least 3"),
        ([1.0, 2, 3], [1.0, 2], r"\(3,\) and \(2,\)"),
        ([1.0, np.nan, 3], [1.0, 2, 3], "position 1"),
        ([[1.0, 2, 3]], [[1.0, 2, 3]], r"\(1, 3\)"),
    ],
)
def test_mistakes_are_named(pred, mos, message: str) -> None:
    for function in (plcc, plcc_fitted, srcc, krcc, correlate):
        with pytest.raises(ValueError, match=message):
            function(pred, mos)


def test_bad_bootstrap_settings() -> None:
    for settings in ({"num_resamples": 0}, {"confidence": 1.0}):
        with pytest.raises(ValueError, match="num_resamples"):
            correlate([1, 2, 3], [1, 2, 4], **settings)
