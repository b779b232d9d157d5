from __future__ import annotations

import csv
import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from basicsr.analysis import score_report
from basicsr.analysis.images import BadFile, list_images
from basicsr.analysis.opinions import correlate, read_guide
from basicsr.analysis.score_report import (
    STATISTICS,
    QualityReport,
    draw_contact_sheet,
    plot_agreement,
    shorten_names,
)
from basicsr.analysis.scorer import QualityScores


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    """Intervals are tested elsewhere; thousands of cubic fits take seconds."""
    monkeypatch.setattr(score_report, "correlate", partial(correlate, num_resamples=50))


def make_scores(num: int = 30) -> tuple[QualityScores, dict[str, float]]:
    rng = np.random.default_rng(0)
    mos = np.linspace(1, 5, num)
    names = tuple(f"{index:02}.png" for index in range(num))
    spatial, spectral = mos + rng.normal(0, 0.3, num), -np.exp(-mos)
    scores = {"spatial": spatial, "spectral": spectral, "ensemble": spatial + spectral}
    return QualityScores(names, scores, (BadFile("x.png", "broken"),)), dict(zip(names, mos))


def test_report_files_hold_every_score_and_all_statistics(tmp_path: Path):
    scores, mos = make_scores()
    report = QualityReport("set", scores, mos, settings={"seed": 1}, bad_files=[BadFile("line 3", "no score")])
    csv_path, json_path = report.write(tmp_path)
    rows = list(csv.DictReader(csv_path.open()))
    assert [row["file"] for row in rows] == list(scores.images)
    assert float(rows[4]["mos"]) == mos["04.png"] and float(rows[4]["ensemble"]) == scores.scores["ensemble"][4]
    content = json.loads(json_path.read_text())
    assert set(content["correlations"]) == {"spatial", "spectral", "ensemble"}
    for found in content["correlations"].values():
        assert set(found) == set(STATISTICS)
        for value in found.values():
            assert value["low"] <= value["value"] <= value["high"] and value["confidence"] == 0.95
    assert content["correlations"]["spectral"]["srcc"]["value"] == pytest.approx(1)
    assert [bad["name"] for bad in content["bad_files"]] == ["line 3", "x.png"]
    table = report.format()
    assert "SRCC" in table and "ensemble" in table and "1.0000 [1.0000, 1.0000]" in table


def test_constant_scores_are_named_and_the_rest_reported(tmp_path: Path):
    scores, mos = make_scores()
    constant = QualityScores(scores.images, {**scores.scores, "spatial": np.full(30, 2.0)})
    report = QualityReport("set", constant, mos)
    assert set(report.correlations) == {"spectral", "ensemble"}
    assert "every score is 2" in report.undefined["spatial"]
    assert "spatial: the correlation is undefined" in report.format()
    report.write(tmp_path)
    assert len(plot_agreement(report).axes) == 3


def test_images_without_an_opinion_are_scored_but_not_correlated(tmp_path: Path):
    scores, mos = make_scores()
    known = {name: mos[name] for name in list(mos)[:25]}
    report = QualityReport("set", scores, {**known, "absent.png": 3.0})
    assert "25 of 30 images rated" in report.format() and report.notes == []
    csv_path, json_path = report.write(tmp_path)
    rows = list(csv.DictReader(csv_path.open()))
    assert len(rows) == 30 and [row["mos"] for row in rows[25:]] == [""] * 5 and float(rows[24]["mos"]) == mos["24.png"]
    content = json.loads(json_path.read_text())
    assert (content["num_images"], content["num_rated"]) == (30, 25)
    assert content["correlations"]["spatial"]["plcc"]["num_scores"] == 25
    expected = np.corrcoef(scores.scores["spatial"][:25], list(known.values()))[0, 1]
    assert content["correlations"]["spatial"]["plcc"]["value"] == pytest.approx(expected)
    points = plot_agreement(report).axes[0].collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], scores.scores["spatial"][:25])


def test_numbers_that_few_opinions_cannot_give_are_neither_written_nor_drawn(tmp_path: Path):
    scores, mos = make_scores()
    report = QualityReport("set", scores, {name: mos[name] for name in list(mos)[:4]})
    table = report.format()
    assert "fewer than 5 images" in table and "which need 20" in table and "[" not in table
    fitted = json.loads(report.write(tmp_path)[1].read_text())["correlations"]["spectral"]["plcc_fitted"]
    assert (fitted["value"], fitted["low"], fitted["high"]) == (None, None, None)
    for axes in plot_agreement(report).axes:
        assert "PLCC" not in axes.get_title() and "SRCC" in axes.get_title() and not axes.lines
    few = QualityReport("set", scores, {name: mos[name] for name in list(mos)[:2]})
    assert "at least 3 scored images, got 2" in few.format() and set(few.undefined) == set(scores.scores)
    assert len(list(csv.DictReader(few.write(tmp_path)[0].open()))) == 30


def test_scatter_shows_points_and_fit():
    scores, mos = make_scores()
    axes = plot_agreement(QualityReport("set", scores, mos)).axes[1]
    points = axes.collections[0].get_offsets()
    np.testing.assert_allclose(points[:, 0], scores.scores["spectral"])
    np.testing.assert_allclose(points[:, 1], list(mos.values()))
    x, y = axes.lines[0].get_data()
    assert x[0] == scores.scores["spectral"].min() and abs(y[-1] - 5) < 0.5
    with pytest.raises(ValueError, match="opinion"):
        plot_agreement(QualityReport("set", scores))


def test_contact_sheet_and_ranked_list(photos: Path, tmp_path: Path):
    paths = {path.name: path for path in list_images(photos)}
    order = np.arange(len(paths), dtype=float)
    report = QualityReport("photos", QualityScores(tuple(paths), {"spatial": order}))
    figure = draw_contact_sheet(report, paths, count=8)
    captions = [axes.get_xlabel().split("\n")[0] for axes in figure.axes]
    assert captions == list(paths)[:3:-1] + list(paths)[3::-1]
    assert draw_contact_sheet(report, paths, count=2).axes[2].get_xlabel().startswith(list(paths)[1])
    rows = list(csv.DictReader(report.write(tmp_path, ranked=True)[0].open()))
    assert [row["file"] for row in rows] == list(paths)[::-1] and "mos" not in rows[0]
    assert list(paths)[-1] in report.format()


def test_thumbnails_have_no_frame_and_their_own_captions(photos: Path):
    paths = {f"holiday_2024_greece_DSC{index:05}.png": path for index, path in enumerate(list_images(photos))}
    report = QualityReport("photos", QualityScores(tuple(paths), {"spatial": np.arange(8.0)}))
    figure = draw_contact_sheet(report, paths)
    captions = [axes.get_xlabel().split("\n")[0] for axes in figure.axes]
    assert sorted(captions) == [f"…DSC0000{index}.png" for index in range(8)]
    assert not any(spine.get_visible() for axes in figure.axes for spine in axes.spines.values())


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["a.png", "b.png"], ["a.png", "b.png"]),
        (["x" * 40 + "1.png", "x" * 40 + "2.png"], ["…1.png", "…2.png"]),
        (["IMG_" + "y" * 30 + "_1.png", "IMG_z.png"], ["IMG_yyyyyyy…yyyy_1.png", "IMG_z.png"]),
        (["one_very_long_name_of_a_file.png"], ["one_very_lo…a_file.png"]),
        (
            ["prefix_of_many_" + "q" * 30 + "1.png", "prefix_of_many_r.png"],
            ["…qqqqqqqqqq…qqqqq1.png", "prefix_of_many_r.png"],
        ),
    ],
)
def test_long_names_stay_different(names: list[str], expected: list[str]):
    assert shorten_names(names) == expected
    assert max(map(len, expected)) <= 22


def test_contact_sheet_of_one_image(photos: Path):
    path = list_images(photos)[0]
    report = QualityReport("one", QualityScores((path.name,), {"spatial": np.array([1.0])}))
    assert len(draw_contact_sheet(report, {path.name: path}).axes) == 1


def test_the_fixtures_guide_is_readable(photos: Path):
    guide = read_guide(photos / "guide.txt")
    assert len(guide.scores) == len(list_images(photos)) == 8
