"""Everything that is to be measured on a GPU, in one go of about ten minutes: one report in Markdown and JSON.

Tests marked ``gpu``, the DualFormer step at batches of 16 and 64 as the options ``--with`` say, at the first of them
with and without ``cuda_graph``, the share of its time in which kernels run and the host's launches (profiler), every
recipe, and the degradation. A part that fails is reported; the others go on.

    python benchmarks/gpu_all.py --out results
    python benchmarks/gpu_all.py --with precision=bf16 channels_last=true compile=critics
    python benchmarks/gpu_all.py --device cpu --tiny --out results      # runs through, measures nothing
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from bench_step import options
from torch import Tensor
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

from basicsr.models import build_model
from basicsr.models.sr_model import SRModel
from basicsr.options.load import load_value
from basicsr.utils.seeding import choose_algorithms

HERE = Path(__file__).parent
LAUNCHES = ("cudaLaunchKernel", "cuLaunchKernel", "cudaGraphLaunch", "cudaMemcpyAsync", "cudaMemsetAsync")
"""Calls of the host that ask a GPU to work; a graph is one."""


def measure_step(args: argparse.Namespace, batch: int, changes: dict[str, Any]) -> dict[str, Any]:
    """Images per second of a DualFormer step, and the share of its time in which kernels run."""
    size, blocks, features = (64, 1, 8) if args.tiny else (128, 23, 64)
    settings = argparse.Namespace(gt_size=size, device=args.device, blocks=blocks, features=features)
    opt = options(settings)
    opt["train"] |= changes
    choose_algorithms(deterministic=False, tf32=changes.get("precision") == "tf32")
    torch.manual_seed(0)
    model = build_model(opt)
    assert isinstance(model, SRModel)
    gt = torch.rand(batch, 3, size, size, device=args.device)
    pair = {"lq": F.avg_pool2d(gt, 4), "gt": gt}
    warmup, steps = (1, 1) if args.tiny else (8, 20)
    for number in range(warmup):
        iterate(model, pair, number + 1)
    start = clock(args.device)
    for number in range(steps):
        iterate(model, pair, warmup + number + 1)
    seconds = (clock(args.device) - start) / steps
    found: dict[str, Any] = {"batch": batch, "ms": 1e3 * seconds, "images_per_s": batch / seconds}
    if args.device == "cuda":
        found["memory_GiB"] = torch.cuda.max_memory_allocated() / 2**30
    with profile(activities=[ProfilerActivity.CPU, ProfilerActivity.CUDA][: 1 + (args.device == "cuda")]) as profiler:
        begun = clock(args.device)
        iterate(model, pair, warmup + steps + 1)
        wall = clock(args.device) - begun
    events = profiler.key_averages()
    # Operators are credited with the kernels that they ask for, which are events of their own.
    kernels = 1e-6 * sum(
        event.self_device_time_total
        for event in events
        if event.device_type != DeviceType.CPU and not getattr(event, "is_user_annotation", False)
    )
    # Profiling slows the host: kernels are as fast as ever, so their time is divided by that of a step without it.
    found |= {"kernel_ms": 1e3 * kernels, "kernel_share": kernels / seconds, "kernel_share_profiled": kernels / wall}
    found["launches"] = sum(event.count for event in events if event.key.startswith(LAUNCHES))
    found["graphs"] = model.graphs.count()
    return found


def iterate(model: SRModel, pair: dict[str, Tensor], iteration: int) -> None:
    model.begin_iteration(iteration)
    model.feed_data(pair)
    model.optimize_parameters(iteration)


def clock(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def run(command: list[str], limit: float) -> dict[str, Any]:
    """Runs a script of its own; its output is the figure. Past the limit it ends, with all that it has started."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, text=True, cwd=HERE.parent, start_new_session=True, **pipes) as process:
        failed = ""
        try:
            text, errors = process.communicate(timeout=limit)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            text, errors = process.communicate()
            failed = f"took longer than {limit:.0f} s; until then:\n{(text.strip() or errors)[-2000:]}"
    found = {"command": " ".join(command[1:]), "output": text.strip()}
    if process.returncode and not failed:
        failed = (errors.strip() or text)[-2000:]
    return {**found, "failed": failed} if failed else found


def scripts(args: argparse.Namespace, precision: str) -> dict[str, tuple[list[str], float]]:
    """The other programs, each with the seconds that it may take."""
    device = ["--device", args.device]
    recipes = ["--batch", "1", "--steps", "1", "--warmup", "0", "--recipes", "train_esrnet_x4_hgd"]
    degradation = ["--threads", "1", "--batch", "2", "--size", "96", "--gt_size", "64", "--repeats", "1"]
    plain = ["--blocks", "1", "--features", "8", "--batch", "2", "--gt-size", "64", "--rounds", "1", "--steps", "1"]
    tests = [sys.executable, "-m", "pytest", "-n", "0", "-q", "-m", "gpu", "tests/gpu", "-k"]
    long = "speed_options or run_that_goes_on or torchrun"
    full = ["--batch", "16", "--blocks", "23", "--features", "64", "--rounds", "3", "--steps", "2"]
    found = {
        "tests": ([*tests, f"not ({long})"], 120.0),
        "tests of compilation and whole runs": ([*tests, long], 180.0),
        "step against plain": ([str(HERE / "bench_step.py"), *device, *(plain if args.tiny else full)], 90.0),
        "step against floor": (
            [str(HERE / "bench_step.py"), *device, *(plain if args.tiny else full), "--floor"],
            60.0,
        ),
        "degradation": ([str(HERE / "bench_degradation.py"), *device, *(degradation if args.tiny else [])], 60.0),
        "recipes": (
            [
                str(HERE / "bench_recipes.py"),
                *device,
                "--precision",
                precision,
                *(recipes if args.tiny else ["--steps", "8", "--warmup", "4"]),
            ],
            180.0,
        ),
    }
    return {
        name: (command if command[0] == sys.executable else [sys.executable, *command], limit)
        for name, (command, limit) in found.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "cpu"])
    parser.add_argument("--tiny", action="store_true", help="sizes at which figures mean nothing")
    parser.add_argument("--with", dest="changes", nargs="*", default=[], metavar="KEY=VALUE", help="keys of `train`")
    parser.add_argument("--batches", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--only", nargs="+", help="parts to run: steps, tests, degradation, recipes …")
    parser.add_argument("--out", type=Path, default=Path("."), help="folder for gpu_all.json and gpu_all.md")
    args = parser.parse_args()
    changes = {key: load_value(value) for key, _, value in (change.partition("=") for change in args.changes)}
    about = {
        "device": torch.cuda.get_device_name() if args.device == "cuda" else "CPU",
        "torch": torch.__version__,
        "python": platform.python_version(),
        "options": changes,
    }
    report: dict[str, Any] = {"about": about}
    batches = [2] if args.tiny else args.batches
    steps: list[tuple[int, dict[str, Any]]] = []
    for setting in [{}] + ([changes] if changes else []):
        steps += [(batches[0], setting), (batches[0], {**setting, "cuda_graph": True})]
        steps += [(batch, setting) for batch in batches[1:]]
    for batch, setting in steps if not args.only or "steps" in args.only else []:
        name = f"step, batch {batch}, {setting or 'fp32'}"
        if name in report:  # `--with cuda_graph=true`
            continue
        try:
            report[name] = measure_step(args, batch, setting)
        except Exception as error:  # the rest is worth having
            report[name] = {"failed": f"{type(error).__name__}: {error}"}
        print(name, report[name], flush=True)
        if args.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
    for name, (command, limit) in scripts(args, str(changes.get("precision", "fp32"))).items():
        if args.only and name not in args.only:
            continue
        report[name] = run(command, limit)
        print(name, report[name].get("failed", report[name].get("output")), flush=True)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "gpu_all.json").write_text(json.dumps(report, indent=2) + "\n")
    lines = [f"# {about['device']}, torch {about['torch']}, Python {about['python']}"]
    for name, found in report.items():
        if name != "about":
            figures = found.get("failed") or found.get("output") or json.dumps(found, indent=1)
            lines += ["", f"## {name}", "", "```", *([found["command"]] if "command" in found else []), figures, "```"]
    (args.out / "gpu_all.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
