"""Defaults follow the cores that a process may use, not those of the machine."""

from __future__ import annotations

import argparse
import os
from typing import Any

import pytest

from basicsr.analysis.arguments import add_runtime_arguments
from basicsr.preparation import generation
from basicsr.preparation.generation_recipes import hard_gated_recipe
from basicsr.preparation.running import default_workers
from basicsr.utils.arguments import available_cores


def default_of_analyses() -> int:
    parser = argparse.ArgumentParser()
    add_runtime_arguments(parser)
    return int(parser.parse_args([]).num_workers)


def test_defaults_follow_the_cores_that_may_be_used(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def generate(*_: Any, num_workers: int, **__: Any) -> list[str]:
        asked.append(num_workers)
        return []

    monkeypatch.setattr(generation, "generate_dataset", generate)
    monkeypatch.setattr(os, "cpu_count", lambda: 128)
    for cores in (1, 3, 64):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _, count=cores: set(range(count)), raising=False)
        assert available_cores() == cores
        assert default_workers() == min(16, cores)
        assert default_of_analyses() == min(4, cores)
        generation.run_generation("", hard_gated_recipe, 4, ["--input", "a", "--hr_folder", "b", "--lr_folder", "c"])
        assert asked.pop() == cores
    monkeypatch.delattr(os, "sched_getaffinity")
    assert available_cores() == 128
