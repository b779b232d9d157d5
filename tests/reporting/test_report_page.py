"""``basicsr report``: what a page holds, what it says that it lacks, and how large it is."""

from __future__ import annotations

import base64
import json
import logging
import re
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
from run_folders import LOG, save_generated, write_pairs, write_test, write_training

from basicsr.cli import main
from basicsr.engine import loggers
from basicsr.reporting import scenes
from basicsr.reporting.report import render, write_report
from basicsr.reporting.runs import read_run


class Page(HTMLParser):
    """The elements of a page, its title, and its data."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.elements: list[str] = []
        self.addresses: list[str] = []
        self.texts: dict[str, str] = {}
        self.size = file.stat().st_size
        self.feed(file.read_text(encoding="utf-8"))
        self.data: dict[str, Any] = json.loads(self.texts["data"])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        known = dict(attrs)
        self.addresses += [str(known[name]) for name in ("src", "href") if name in known]
        self._key = known.get("id") or tag

    def handle_data(self, data: str) -> None:
        if self.elements:
            self.texts.setdefault(self._key, data)


def decode(uri: str) -> np.ndarray:
    content = base64.b64decode(uri.removeprefix("data:image/webp;base64,"))
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)


@pytest.fixture
def two_tests(tmp_path: Path) -> list[Path]:
    """Two tests of two images each; the second one's pictures are the ground truth."""
    pictures = write_pairs(tmp_path, ["x", "y"])
    folders = [write_test(tmp_path, name, {"x": 21.0, "y": 22.0 + len(name)}) for name in ("a", "bb")]
    for folder, shift in zip(folders, (9, 0)):
        for image, picture in pictures.items():
            save_generated(folder, folder.name, image, cv2.subtract(picture, np.full_like(picture, shift)))
    return folders


def test_pictures_of_all_methods_are_kept_without_loss(two_tests: list[Path], tmp_path: Path) -> None:
    assert write_report(two_tests, tmp_path / "page.html") == []
    first, second = Page(tmp_path / "page.html").data["scenes"]
    assert (first["image"], second["image"]) == ("x", "y")
    layers = {layer["label"]: layer for layer in first["layers"]}
    assert list(layers) == ["LQ", "bicubic", "a", "bb", "GT"]
    assert decode(layers["LQ"]["uri"]).shape == (12, 12, 3)
    truth = cv2.imread(str(tmp_path / "data/HR/x.png"))
    for label in ("bb", "GT"):
        np.testing.assert_array_equal(decode(layers[label]["uri"]), truth)
    assert np.abs(decode(layers["bicubic"]["uri"]).astype(int) - truth).mean() < 20
    assert layers["a"]["scores"] == "psnr 21 · dist 19" and layers["GT"]["scores"] is None


def test_tables_scatter_and_profiles_have_every_method(two_tests: list[Path], tmp_path: Path) -> None:
    write_report(two_tests, tmp_path / "page.html")
    data = Page(tmp_path / "page.html").data
    (means,) = data["comparison"]
    assert [row["cells"][:3] for row in means["rows"][:2]] == [
        ["psnr ↑", "a", "22"],
        ["psnr ↑", "bb", "22.5"],
    ]
    assert means["rows"][0]["markdown"].startswith("| psnr ↑ | a | 22 |")
    assert [row["cells"][:2] for row in data["tables"][0]["rows"][:3]] == [["x", "bicubic"], ["x", "a"], ["x", "bb"]]
    assert means["title"] == "Means of set" and [row["mark"] for row in means["rows"]] == ["", "", "", ""]
    (plot,) = data["scatter"]
    assert (plot["x"], plot["y"]) == ("psnr", "dist") and [point["label"] for point in plot["points"]] == [
        "bicubic",
        "a",
        "bb",
    ]
    levels = {series["label"]: [y for _, y in series["points"]] for series in data["profiles"][0]["series"]}
    assert levels["bb"] == levels["GT"] != levels["a"]
    assert [row["cells"] for row in data["options"]["rows"]] == [["name", "a", "bb"]]


def test_curves_of_a_training_are_shown_beside_a_test(two_tests: list[Path], tmp_path: Path) -> None:
    write_report([two_tests[0], write_training(tmp_path)], tmp_path / "page.html")
    data = Page(tmp_path / "page.html").data
    charts = {chart["title"]: chart for chart in data["curves"]}
    assert charts["set, psnr"]["series"] == [{"label": "trained", "part": "", "points": [[1004, 24.5]]}]
    assert [series["part"] for series in charts["Accuracy of d on set"]["series"]] == ["real", "generated"]
    assert data["runs"][1]["notes"] == [
        "There is no metrics.json: the training has not come to its end, or was an older version's.",
        "There are no pictures in visualization/ (val.save_img: true keeps them).",
    ]


def test_kept_profiles_stand_in_for_those_of_pictures(tmp_path: Path) -> None:
    write_report([write_training(tmp_path)], tmp_path / "page.html")
    (chart,) = Page(tmp_path / "page.html").data["profiles"]
    assert chart["series"][0] == {"label": "trained", "part": "", "points": [[0.25, 1.0], [0.75, -2.0]]}


def test_what_is_missing_is_said(two_tests: list[Path], tmp_path: Path) -> None:
    (tmp_path / "data/HR/x.png").unlink()
    (two_tests[0] / "metrics.json").write_text("{torn")
    (two_tests[0] / "visualization/set/y_a.png").write_bytes(b"no picture")
    notes = " ".join(write_report(two_tests[:1], tmp_path / "page.html"))
    assert "metrics.json cannot be read" in notes and "y_a.png cannot be shown" in notes
    assert "set: no ground truth or LQ image is shown" in notes
    (scene,) = Page(tmp_path / "page.html").data["scenes"]
    assert [layer["label"] for layer in scene["layers"]] == ["a"]


def test_a_folder_with_nothing_but_a_log_gives_a_page(tmp_path: Path) -> None:
    folder = tmp_path / "results/empty"
    folder.mkdir(parents=True)
    (folder / "test_empty_1.log").touch()
    assert len(write_report([folder], tmp_path / "page.html")) == 3
    assert Page(tmp_path / "page.html").data["scenes"] == []


def test_pictures_are_cut_to_a_number_of_bytes(tmp_path: Path) -> None:
    folder = write_test(tmp_path, "a", {"x": 20.0, "y": 20.0})
    write_pairs(tmp_path, ["x", "y"], side=160)
    noise = np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    for image in "xy":
        save_generated(folder, "a", image, noise)
    write_report([folder], tmp_path / "page.html", max_bytes=30_000)
    page = Page(tmp_path / "page.html")
    uris = [layer["uri"] for scene in page.data["scenes"] for layer in scene["layers"]]
    assert 10_000 < sum(len(uri) * 3 / 4 for uri in uris) < 31_000
    left, top, width, height = page.data["scenes"][0]["part"]
    assert width == height < 160 and left % 4 == top % 4 == width % 4 == 0
    shown = {layer["label"]: decode(layer["uri"]) for layer in page.data["scenes"][0]["layers"]}
    np.testing.assert_array_equal(shown["a"], noise[top : top + height, left : left + width])
    assert shown["LQ"].shape == (height // 4, width // 4, 3)


def test_of_many_images_evenly_spaced_ones_are_shown(tmp_path: Path) -> None:
    names = [f"{index:02d}" for index in range(6)]
    folder = write_test(tmp_path, "a", dict.fromkeys(names, 20.0))
    for name, picture in write_pairs(tmp_path, names).items():
        save_generated(folder, "a", name, picture)
    write_report([folder], tmp_path / "page.html", max_images=3)
    data = Page(tmp_path / "page.html").data
    assert [scene["image"] for scene in data["scenes"]] == ["00", "02", "04"]
    assert data["images"] == {"shown": 3, "total": 6}


def test_names_cannot_break_the_page_and_nothing_is_fetched(tmp_path: Path) -> None:
    name = """</script><img src=x onerror="alert('1')">&$title"""
    file = tmp_path / "page.html"
    file.write_text(render(name, {"label": name + "\u2028<!--"}), encoding="utf-8")
    page = Page(file)
    assert page.data["label"] == name + "\u2028<!--" and page.texts["h1"] == name
    assert page.elements.count("script") == 2 and "img" not in page.elements
    assert all(address.startswith(("#", "data:")) for address in page.addresses)
    own = file.read_text().replace("http://www.w3.org/2000/svg", "")
    assert not re.search(r"https?://|url\(|@import|fetch\(|XMLHttp|eval\(|innerHTML", own)


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [
        write_test(tmp_path, "a", {"x": 20.0}),
        write_training(tmp_path, "a"),
        write_test(tmp_path, "GT", {"x": 1.0}),
    ]
    write_report(folders, tmp_path / "page.html")
    labels = [run["label"] for run in Page(tmp_path / "page.html").data["runs"]]
    assert labels == ["a (test)", "a (training)", "GT (test)"]
    others = [write_test(tmp_path / place, "a", {"x": 20.0}) for place in ("one", "two")]
    write_report([*others, others[0]], tmp_path / "page.html")
    labels = [run["label"] for run in Page(tmp_path / "page.html").data["runs"]]
    assert labels == ["one/results/a", "two/results/a"]


def test_the_command_says_where_the_page_is(two_tests: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(two_tests[0])]) == 0
    assert (two_tests[0] / "report.html").stat().st_size < 200_000
    assert "report.html (0.1 MB)" in capsys.readouterr().err
    assert main(["report", str(two_tests[0]), "--images", "0"]) == 2
    capsys.readouterr()
    assert main(["report", str(two_tests[0]), "-o", str(two_tests[0])]) == 2
    assert "is a folder; name a file in it" in capsys.readouterr().err
    assert main(["report", str(two_tests[0]), "-o", str(two_tests[0] / "metrics.json" / "page.html")]) == 2
    assert "page.html cannot be written (" in capsys.readouterr().err


def test_options_and_names_that_json_has_no_numbers_or_letters_for(tmp_path: Path) -> None:
    folders = [
        write_test(tmp_path, name, {"nan": 20.0}, train={"ema_decay": value})
        for name, value in (("inf", float("nan")), ("a\udcff", float("inf")))
    ]
    write_report(folders, tmp_path / "page.html")
    assert len(Page(tmp_path / "page.html").data["runs"]) == 2


def test_numbers_that_are_older_than_the_training_are_said_to_be(tmp_path: Path) -> None:
    folder = write_training(tmp_path)
    (write_test(tmp_path, "a", {"x": 20.0}) / "metrics.json").rename(folder / "metrics.json")
    assert not [note for note in read_run(folder).notes if "older" in note]
    (folder / "train_trained_29990101_100000.log").write_text(LOG)
    assert [note for note in read_run(folder).notes if "the numbers are older" in note]


@pytest.mark.parametrize("is_asked", [True, False])
def test_a_page_that_cannot_be_written_fails_no_run(
    is_asked: bool, two_tests: list[Path], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(loggers, "write_report", fail)
    options: Any = SimpleNamespace(typed=SimpleNamespace(logger=SimpleNamespace(report=is_asked)))
    with caplog.at_level(logging.WARNING, "basicsr"):
        loggers.write_own_report(options, two_tests[0], [])
    assert [record.getMessage() for record in caplog.records] == [
        "The report could not be written: disk full"
    ] * is_asked


def test_pictures_that_would_take_gigabytes_are_left_out(
    two_tests: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scenes, "MAX_PIXELS", 48 * 48 - 1)
    notes = write_report(two_tests[:1], tmp_path / "page.html")
    assert len(notes) == 2 and "x_a.png is left out, as it is of more than" in notes[0]


def test_numbers_of_different_protocols_are_not_compared_on_a_page_either(tmp_path: Path) -> None:
    folders = [write_test(tmp_path, "a", {"x": 20.0}), write_test(tmp_path, "b", {"x": 21.0}, protocol="PSNR of RGB")]
    write_report(folders, tmp_path / "page.html")
    (refused,) = Page(tmp_path / "page.html").data["comparison"]
    assert refused["rows"] == [] and "by psnr, as it was measured in different ways" in refused["notes"][0]


def test_an_image_without_readable_ground_truth_is_shown_without_it(two_tests: list[Path], tmp_path: Path) -> None:
    (tmp_path / "data/HR/x.png").write_bytes(b"no picture")
    (note,) = write_report(two_tests[:1], tmp_path / "page.html")
    assert "set: no ground truth or LQ image is shown" in note and "x.png" in note
    labels = [[layer["label"] for layer in scene["layers"]] for scene in Page(tmp_path / "page.html").data["scenes"]]
    assert labels == [["a"], ["LQ", "bicubic", "a", "GT"]]
