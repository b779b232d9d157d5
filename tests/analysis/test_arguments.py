"""Options that all analysis commands share."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

import pytest

from basicsr.analysis.arguments import add_runtime_arguments, name_data_set
from basicsr.utils.arguments import available_cores


def parse(*arguments: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    add_runtime_arguments(parser, batch_size=16)
    return parser.parse_args(arguments)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--num_workers", "-1"], "--num_workers: must be 0 or more, got -1"),
        (["--num_workers", "two"], "--num_workers: must be a whole number, got 'two'"),
        (["--batch_size", "0"], "--batch_size: must be 1 or more, got 0"),
    ],
)
def test_numbers_out_of_range_are_named(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stop:
        parse(*arguments)
    assert stop.value.code == 2
    assert words in capsys.readouterr().err


def test_images_are_decoded_by_no_more_processes_than_cores(monkeypatch: pytest.MonkeyPatch):
    assert parse("--num_workers", "7").num_workers == 7 and parse("--num_workers", "0").num_workers == 0
    for cores, expected in ((1, 1), (2, 2), (64, 4)):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, count=cores: set(range(count)), raising=False)
        assert available_cores() == cores and parse().num_workers == expected


def test_data_sets_in_folders_of_one_name_have_names_of_their_own(tmp_path: Path) -> None:
    folders = {"Set5/HR": "Set5", "Set14/HR": "Set14", "photographs/val/HR": "photographs_val", "DIV2K": "DIV2K"}
    folders |= {"B100/GTmod12": "B100", "photographs/val": "val", "Set5/HR/": "Set5"}
    assert {folder: name_data_set(f"{tmp_path}/{folder}") for folder in folders} == folders
