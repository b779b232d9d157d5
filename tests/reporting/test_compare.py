"""``basicsr compare``: means, paired intervals, and what is not compared."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from run_folders import write_test

from basicsr.cli import main
from basicsr.reporting.command import FORMATS
from basicsr.reporting.comparison import Contestant, choose_contestants, compare
from basicsr.reporting.runs import read_runs
from basicsr.reporting.tables import Table


def run_compare(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    code = main(["compare", *map(str, arguments)])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_images_are_joined_by_name(tmp_path: Path) -> None:
    a = write_test(tmp_path, "a", {"x": 20.0, "y": 30.0})
    b = write_test(tmp_path, "b", {"y": 31.0, "x": 22.0})
    rows = compare(choose_contestants(read_runs([a, b]))).rows
    psnr = [row for row in rows if row.metric == "psnr"]
    assert [(row.label, row.mean, row.difference, row.images) for row in psnr] == [
        ("a", 25, None, 2),
        ("b", 26.5, 1.5, 2),
    ]
    assert (psnr[1].low, psnr[1].high) == (1.0, 2.0) and psnr[1].verdict == "better"
    assert [row.verdict for row in rows if row.metric == "dist"] == ["", "better"]


def test_an_image_without_a_value_is_left_out_of_all_means(tmp_path: Path) -> None:
    a = write_test(tmp_path, "a", {"x": 20.0, "y": 30.0})
    b = write_test(tmp_path, "b", {"x": 22.0, "y": None})
    found = compare(choose_contestants(read_runs([a, b])))
    psnr = [row for row in found.rows if row.metric == "psnr"]
    assert [(row.mean, row.images, row.total) for row in psnr] == [(20, 1, 2), (22, 1, 2)]
    assert psnr[1].low is None and "1 of 2" in found.table().render("text")


def test_a_single_run_is_compared_with_bicubic(tmp_path: Path) -> None:
    rows = compare(choose_contestants(read_runs([write_test(tmp_path, "a", {"x": 20.5, "y": 21.5})]))).rows
    assert [(row.label, row.mean) for row in rows if row.metric == "psnr"] == [("bicubic", 20), ("a", 21)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"protocol": "PSNR in dB, RGB"}, "in different ways: 'PSNR in dB, BT.601 Y"),
        ({"values": {"x": 1.0, "z": 2.0}}, "other images: y only in a; z only in b"),
        ({"digests": {"x": "11", "y": "23"}}, "the ground truth of y differs"),
        ({"scale": 2}, "scale is 4 and 2"),
    ],
)
def test_numbers_of_different_protocols_are_refused_by_the_difference(
    change: dict, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    same = {"values": {"x": 20.0, "y": 30.0}, "digests": {"x": "11", "y": "22"}}
    a = write_test(tmp_path, "a", **same)
    b = write_test(tmp_path, "b", **(same | change))
    code, out, err = run_compare(capsys, a, b)
    assert code == 2 and not out and reason in err and "Traceback" not in err


def test_equal_protocols_with_equal_ground_truth_are_compared(tmp_path: Path) -> None:
    same = {"values": {"x": 20.0}, "digests": {"x": "11"}}
    runs = read_runs([write_test(tmp_path, "a", **same), write_test(tmp_path, "b", **same)])
    assert not compare([Contestant(run, "net_g") for run in runs]).refusals


def test_every_format_has_the_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = write_test(tmp_path, "a", {"x": 20.0}), write_test(tmp_path, "b_<1>&", {"x": 21.5})
    texts = {form: run_compare(capsys, *folders, "--format", form)[1] for form in FORMATS}
    assert "| set | psnr ↑ | b\\_\\<1>& | 21.5 | +1.5 | – | 1 |" in texts["markdown"]
    assert r"set & psnr $\uparrow$ & b\_\textless{}1\textgreater{}\& & 21.5 & +1.5 & -- & 1 \\" in texts["latex"]
    entries = json.loads(texts["json"])
    assert entries[1]["method"] == "b_<1>&" and entries[1]["difference"] == 1.5 and entries[1]["low"] is None
    rows = list(csv.DictReader(io.StringIO(texts["csv"])))
    assert rows[1]["mean"] == "21.5" and rows[0]["difference"] == ""
    assert "b_<1>&" in texts["text"]


def test_a_name_stands_for_the_run_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_test(tmp_path, "a", {"x": 20.0})
    monkeypatch.chdir(tmp_path)
    assert "bicubic" in run_compare(capsys, "a")[1]
    code, _, err = run_compare(capsys, "nowhere")
    assert code == 3 and "no results/nowhere or experiments/nowhere" in err


def test_a_folder_that_is_no_run_and_one_without_numbers_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, _, err = run_compare(capsys, tmp_path)
    assert code == 3 and "is not the folder of a run" in err
    folder = write_test(tmp_path, "a", {"x": 20.0})
    (folder / "metrics.json").unlink()
    (folder / "test_a_1.log").touch()
    code, _, err = run_compare(capsys, folder)
    assert code == 3 and "There is no metrics.json" in err


def test_undefined_cells_are_marked_in_every_format() -> None:
    table = Table(["name", "value"], [["a|b", float("nan")], ["c", None]])
    assert "| a\\|b | – |" in table.render("markdown")
    assert table.render("csv") == "name,value\na|b,\nc,"
    assert json.loads(table.render("json"))[0]["value"] is None
