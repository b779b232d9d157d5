from __future__ import annotations

import logging
from pathlib import Path

import pytest

from basicsr.analysis.experiments import SOURCE, describe_file, prepare_output, writing
from basicsr.evaluation.tables import write_json
from basicsr.utils.errors import UserError

SOURCES = {"images": "/data/a", "models": {"A": {"path": "/a.pth", "digest": "12"}}}


def test_replacing_results_of_another_source_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    base = tmp_path / "deep" / "bands"
    prepare_output(base, SOURCES)
    write_json({SOURCE: SOURCES}, f"{base}.json")
    prepare_output(base, SOURCES)
    assert not caplog.records
    retrained = {"images": "/data/a", "models": {"A": {"path": "/a.pth", "digest": "34"}, "B": {"kernel": "bicubic"}}}
    with caplog.at_level(logging.WARNING, "basicsr"):
        prepare_output(base, retrained)
    assert "bands.json" in caplog.text and "models.A.digest was 12, is 34" in caplog.text
    assert "models.B.kernel was absent, is bicubic" in caplog.text and "path" not in caplog.text


@pytest.mark.parametrize("content", ["{}", "[1]", "not JSON"])
def test_results_without_a_source_are_named_too(content: str, tmp_path: Path, caplog: pytest.LogCaptureFixture):
    (tmp_path / "bands.json").write_text(content)
    prepare_output(tmp_path / "bands", SOURCES)
    assert "bands.json will be replaced; it does not say" in caplog.text
    assert (tmp_path / "bands.json").read_text() == content


def test_places_that_cannot_be_written_are_refused_before_the_work(tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file/results: results cannot be written there"):
        prepare_output(tmp_path / "file" / "results")
    prepare_output(tmp_path / "new" / "results")
    assert list((tmp_path / "new").iterdir()) == []
    with pytest.raises(UserError, match=r"results: .*No space left"), writing("results"):
        raise OSError(28, "No space left on device")


def test_files_are_told_apart_by_content(tmp_path: Path):
    (tmp_path / "a").write_text("1")
    (tmp_path / "b").write_text("1")
    first, second = describe_file(tmp_path / "a"), describe_file(tmp_path / "b")
    assert first["digest"] == second["digest"] and first["path"] == str(tmp_path / "a") != second["path"]
    (tmp_path / "b").write_text("2")
    assert describe_file(tmp_path / "b")["digest"] != first["digest"]
