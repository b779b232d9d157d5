"""Defaults follow the cores that a process may use, not those of the machine."""

from __future__ import annotations

import argparse
import os

import pytest

from basicsr.analysis.arguments import add_runtime_arguments
from basicsr.commands import build_command_parser
from basicsr.preparation.running import default_workers
from basicsr.utils.arguments import available_cores


def default_of_analyses() -> int:
    parser = argparse.ArgumentParser()
    add_runtime_arguments(parser)
    return int(parser.parse_args([]).num_workers)


def test_defaults_follow_the_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    for cores in (1, 3, 64):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, count=cores: set(range(count)), raising=False)
        assert available_cores() == cores
        assert default_workers() == min(16, cores)
        assert default_of_analyses() == min(4, cores)
        assert build_command_parser("data hard-gated").get_default("num_workers") == cores
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores() == 128
