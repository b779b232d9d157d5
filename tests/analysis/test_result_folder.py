from __future__ import annotations

import json
from pathlib import Path

import pytest

from basicsr.analysis.score_report import choose_folder, clear_figures
from basicsr.evaluation.tables import write_json

SETTINGS = {"images": "/a/images", "guide": None, "critics": {"spatial": {"identity": "x", "size": (32, 32)}}}


def save_report(folder: Path, settings: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json({"settings": settings}, folder / "report.json")


def test_only_results_of_the_same_settings_are_replaced(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    folder = tmp_path / "images"
    assert choose_folder(folder, SETTINGS) == folder
    folder.mkdir()
    assert choose_folder(folder, SETTINGS) == folder
    save_report(folder, SETTINGS)
    assert choose_folder(folder, SETTINGS) == folder and not caplog.records
    other = {**SETTINGS, "images": "/b/images"}
    beside = choose_folder(folder, other)
    assert beside.parent == tmp_path and beside.name.startswith("images-") and beside != folder
    assert f"{folder} holds scores of other settings (images changed); these scores go to {beside}" in caplog.text
    save_report(beside, other)
    assert choose_folder(folder, other) == beside
    assert choose_folder(folder, {**other, "guide": "g.txt"}) not in (folder, beside)


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"settings": 3}'])
def test_what_is_no_report_is_left_alone(content: str, tmp_path: Path):
    (tmp_path / "report.json").write_text(content)
    assert choose_folder(tmp_path, SETTINGS).parent == tmp_path.parent
    (tmp_path / "report.json").unlink()
    (tmp_path / "notes.txt").touch()
    assert choose_folder(tmp_path, SETTINGS) != tmp_path
    assert choose_folder(tmp_path / "notes.txt", SETTINGS) == choose_folder(tmp_path / "notes.txt", SETTINGS)


def test_figures_of_earlier_scores_go_but_no_others(tmp_path: Path):
    names = ("scatter.png", "scatter.pdf", "contact_sheet.png", "mine.png", "scores.csv")
    for name in names:
        (tmp_path / name).touch()
    clear_figures(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == set(names)
    save_report(tmp_path, SETTINGS)
    clear_figures(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"mine.png", "scores.csv", "report.json"}
    assert json.loads((tmp_path / "report.json").read_text())["settings"]["critics"]["spatial"]["size"] == [32, 32]
