"""A speed-run: how long an option file takes to a fixed quality on photographs that it has not seen.

A run is a whole ``basicsr train`` with its start, validations and last measurement, in a process of its own with one
thread. Its time is the processor's, of all its processes, so that other work on the machine counts little. It counts
if both photographs gain enough over bicubic and their spectra are close enough at its end::

    python benchmarks/speedrun.py [--opt options/train/quickstart.yml] [--seeds 0 1 2] [--record FILE.json]

Several option files are run in turn, seed by seed, so that they can be compared: ``--opt A.yml B.yml``. The record has
every run with date, machine, versions and command; runs are appended to what is there.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

import basicsr

ROOT = Path(__file__).resolve().parents[1]
GAIN_DB = {"astronaut": 0.6, "motorcycle": 0.5}
"""PSNR-Y over bicubic that each held-out photograph must reach; other images must not fall below bicubic."""

SPECTRAL_DB = 17.7
"""Largest mean spectral distance."""


def judge(summary: dict[str, dict[str, dict[str, float]]]) -> tuple[dict[str, float], bool]:
    """What a run's ``summary.json`` says of the target.

    Returns:
        Gains in dB by image and, as ``spectral_distance``, the mean distance in dB; whether all of them suffice.
    """
    gains = {name: of["net_g"]["psnr_y"] - of["bicubic"]["psnr_y"] for name, of in summary.items()}
    distance = sum(of["net_g"]["spectral_distance"] for of in summary.values()) / len(summary)
    is_reached = distance <= SPECTRAL_DB and all(
        gain >= next((least for part, least in GAIN_DB.items() if part in name), 0.0) for name, gain in gains.items()
    )
    return {**gains, "spectral_distance": distance}, is_reached


def run(opt: Path, seed: int, force: list[str]) -> dict[str, Any]:
    """Trains once, in a folder that is removed afterwards.

    Raises:
        SystemExit: If the training fails; with its last words.
    """
    changes = [f"manual_seed={seed}", "name=speedrun", *force]
    with tempfile.TemporaryDirectory() as folder:
        if (ROOT / "datasets").is_dir():
            os.symlink(ROOT / "datasets", Path(folder, "datasets"))
        command = [sys.executable, "-m", "basicsr.cli", "train", "-opt", str(opt.resolve()), "--force_yml", *changes]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        after, elapsed = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter() - began
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        values, is_reached = judge(json.loads(Path(folder, "experiments/speedrun/summary.json").read_text()))
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {
        "opt": os.path.relpath(opt.resolve(), ROOT),
        "seed": seed,
        "changes": force,
        "cpu_s": round(cpu, 1),
        "wall_s": round(elapsed, 1),
        "reached": is_reached,
        "values_db": {name: round(value, 3) for name, value in values.items()},
    }


def describe_machine() -> dict[str, Any]:
    """Date, machine and versions of a record's entry."""
    return {
        "date": datetime.date.today().isoformat(),
        "machine": f"{platform.machine()}, {os.cpu_count()} CPUs, {platform.system()}",
        "versions": f"basicsr {basicsr.__version__}, PyTorch {torch.__version__}, Python {platform.python_version()}",
        "command": "python benchmarks/speedrun.py " + " ".join(sys.argv[1:]),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--opt", type=Path, nargs="+", default=[ROOT / "options/train/quickstart.yml"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--force", nargs="+", default=[], help="changes of options, as for --force_yml")
    parser.add_argument("--record", type=Path, help="JSON file to add the runs to")
    args = parser.parse_args()
    for seed in args.seeds:
        for opt in args.opt:
            entry = {**describe_machine(), **run(opt, seed, args.force)}
            reached = "reached" if entry["reached"] else "not reached"
            print(f"{entry['opt']}, seed {seed}: {reached}, {entry['cpu_s']} s of CPU time, {entry['values_db']}")
            if args.record:
                known = json.loads(args.record.read_text()) if args.record.exists() else []
                args.record.write_text(json.dumps([*known, entry], indent=2) + "\n")


if __name__ == "__main__":
    main()
