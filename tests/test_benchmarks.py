"""Every benchmark runs, at sizes at which its figures mean nothing; those that compare two ways find equal results."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path

import pytest
import torch

FOLDER = Path(__file__).parents[1] / "benchmarks"
FIGURE = r"[\d.]+"
RUNS = {
    "bench_step": (
        "--device cpu --blocks 1 --features 8 --batch 2 --gt-size 64 --rounds 1 --steps 1",
        rf"plain / this: {FIGURE}",
    ),
    "bench_degradation": (
        "--threads 1 --batch 2 --size 96 --gt_size 64 --repeats 1",
        rf"weighted mean +{FIGURE} +{FIGURE}",
    ),
    "bench_layout": ("--rounds 1 --batch 1 --only ECBSR", rf"ECBSR: forward {FIGURE} .*; both passes {FIGURE}"),
    "bench_validation": (
        "--device cpu --threads 1 --images 1 --side 64 --rounds 1 --save-img",
        rf"elapsed: this / plain: {FIGURE}",
    ),
    "bench_validation_spectra": (
        "--device cpu --threads 1 --quickstart --images 1 --side 16 --rounds 1",
        rf"added: -?{FIGURE} ms",
    ),
    "bench_dataset": ("--rounds 1 --workers 0", rf"gated, crop 400 +{FIGURE} +{FIGURE} +{FIGURE}"),
    "bench_analysis": (
        "--threads 1 --only statistics --images 1 --repeats 1 --one_process",
        rf"statistics +{FIGURE} s -> +{FIGURE} s",
    ),
    "bench_spectrum": (
        "--device cpu --batch 1 --side 32 --patch-size 16 --rounds 1",
        rf"this / plain: {FIGURE}",
    ),
    "bench_tiles": ("--height 192 --width 256 --tile 32", rf"added: -?{FIGURE} pictures"),
    "bench_upscale": ("--count 2 --height 24 --width 32 --rounds 1", rf"command / network: {FIGURE}"),
    "bench_memory": (
        "--device cpu --batch 1 --steps 1 --recipes train_esrnet_x4_hgd",
        rf"train_esrnet_x4_hgd +128, 1 +{FIGURE}, foretold {FIGURE} .*%\) +{FIGURE}, foretold {FIGURE}",
    ),
    "bench_saving": (
        "--device cpu --threads 1 --recipe train_esrnet_x4_hgd --saves 1",
        rf"held up, ms: elapsed {FIGURE} .*CPU {FIGURE}",
    ),
    "bench_recipes": (
        "--device cpu --batch 1 --steps 1 --warmup 0 --recipes train_esrnet_x4_hgd",
        rf"train_esrnet_x4_hgd +128, 1 +16.7 +{FIGURE}",
    ),
}

SLOW = ("bench_recipes", "bench_memory", "bench_saving")
MARKS = {"bench_tiles": pytest.mark.distributed, **dict.fromkeys(SLOW, pytest.mark.slow)}


def test_no_benchmark_is_left_out() -> None:
    assert set(RUNS) == {file.stem for file in FOLDER.glob("bench_*.py")}


@pytest.mark.parametrize("name", [pytest.param(name, marks=MARKS.get(name, ())) for name in RUNS])
def test_benchmark_runs(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments, expected = RUNS[name]
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments.split()])
    threads = torch.get_num_threads()
    try:
        importlib.import_module(name).main()
    finally:
        torch.set_num_threads(threads)
    assert re.search(expected, capsys.readouterr().out)
