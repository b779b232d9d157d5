"""Runs that are killed at any moment, and go on, end in the bits of the run that nothing disturbed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from campaign_plan import Plan, Tally
from forks import Case, run_cases
from gated_run import assert_same_bits, prepare, read_state

from basicsr import train

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(0)]

WHOLE = 200
NAMES = ("net_g_latest.pth", "net_d_latest.pth")


def train_here(*flags: str) -> int:
    return train.main(["-opt", str(prepare(Path.cwd())), *flags], Path.cwd())


def go_on(root: Path) -> int:
    os.chdir(root)
    return train_here("--auto_resume")


def find_difference(root: Path, whole: Path) -> str:
    """What a run that went on has other than the undisturbed one, or more; empty for nothing."""
    try:
        for part in ("model", "rank_states"):
            assert_same_bits(read_state(root)[part], read_state(whole)[part], part)
        for name in NAMES:
            assert_same_bits(*(torch.load(run / "experiments/tiny/models" / name) for run in (root, whole)), name)
    except AssertionError as error:
        return f"other bits: {error}"
    if (root / "experiments/tiny/summary.json").read_text() != (whole / "experiments/tiny/summary.json").read_text():
        return "other results"
    left = [
        path.name for path in (root / "experiments").rglob("*") if ".tmp" in path.suffixes or path.suffix == ".lock"
    ]
    return f"left behind: {', '.join(left)}" if left else ""


def test_killed_runs_end_in_the_bits_of_undisturbed_ones(
    plan: Plan, tally: Callable[[str], Tally], tmp_path: Path
) -> None:
    begun = time.monotonic()
    (undisturbed,) = run_cases([Case("undisturbed", train_here)], tmp_path / "whole", timeout=300)
    seconds = time.monotonic() - begun
    assert undisturbed.code == 0, undisturbed.text
    counts = {name: tally(f"{name} at a random moment, then --auto_resume") for name in ("SIGKILL", "SIGTERM")}
    cases = []
    for index, generator in enumerate(plan.draw("kills", WHOLE)):
        number = signal.SIGTERM if index % 4 == 3 else signal.SIGKILL
        moment = float(generator.uniform(0, 1.3 * seconds))
        cases.append(
            Case(f"seed {plan.seed}, {index} ({number.name} after {moment:.2f} s)", train_here, (moment, number))
        )
    if not any("SIGTERM" in case.label for case in cases):
        counts.pop("SIGTERM")
    places = {case.label: tmp_path / "runs" / str(number) for number, case in enumerate(cases)}
    roots: dict[str, Path] = {}
    for end in run_cases(cases, tmp_path / "runs", timeout=600):
        kind = "SIGTERM" if "SIGTERM" in end.case.label else "SIGKILL"
        roots[end.case.label] = places[end.case.label]
        if end.code != -signal.SIGKILL and end.fault:
            counts[kind].lose(end.case.label, end.fault)
            roots.pop(end.case.label)
    again = [Case(label, lambda root=root: go_on(root)) for label, root in roots.items()]
    for end in run_cases(again, tmp_path / "again", timeout=600):
        kind = "SIGTERM" if "SIGTERM" in end.case.label else "SIGKILL"
        fault = end.fault or (end.code and end.text) or find_difference(roots[end.case.label], tmp_path / "whole/0")
        if fault:
            counts[kind].lose(end.case.label, fault)
        else:
            counts[kind].add("right")
    for result in counts.values():
        result.demand_none_lost()
