"""Peak memory of every recipe, foretold as ``--check`` does and measured, each in a fresh process.

Networks, losses and crop are the option file's; the batch is, too, unless ``--batch`` says otherwise. Photographs that
scikit-image ships stand in for its data, and random numbers for the pretrained weights. What is measured are
iterations, the last of them beside a checkpoint that is being written, with a pool of pairs that is full; with
activation checkpointing and without. On the CPU memory is the peak of the process's resident memory, the program itself
included; on a GPU it is the peak of PyTorch's allocator.

    python benchmarks/bench_memory.py                                          # all recipes, as their files are
    python benchmarks/bench_memory.py --device cpu --batch 2 --recipes train_esrgan_x4 train_spsr_x4
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
import sys
import tempfile
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torchvision
from bench_recipes import fill_pool, iterate, overrides

from basicsr.engine.footprint import measure_footprint, read_peak
from basicsr.engine.loaders import TrainingBatches, build_training_batches
from basicsr.engine.step_trial import open_iteration
from basicsr.engine.training import seed_networks
from basicsr.evaluation.tables import format_table
from basicsr.models import build_model
from basicsr.models.checkpoint import Position, save_checkpoint
from basicsr.models.saving import BackgroundWriter
from basicsr.options import parse_options
from basicsr.preparation.photographs import prepare_photographs

FILES = {file.stem: file for file in sorted((Path(__file__).parents[1] / "options/train").glob("*.yml"))}


def build(recipe: str, folder: Path, args: argparse.Namespace) -> tuple[Any, TrainingBatches]:
    changes = [*overrides(FILES[recipe], folder, args), f"train:activation_checkpointing={json.dumps(args.saving)}"]
    opt, _ = parse_options(folder, argv=["-opt", str(FILES[recipe]), "--force_yml", *changes])
    seed_networks(opt)
    return build_model(opt), build_training_batches(opt)


def foretell(recipe: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Bytes that ``--check`` reckons with."""
    model, batches = build(recipe, folder, args)
    footprint = measure_footprint(model, batches)
    return {} if footprint is None else {"bytes": footprint.at(batches.batch_size // model.settings.accumulate_steps)}


def measure(recipe: str, folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    """Bytes at the highest, crop and batch after some iterations of a recipe in this process."""
    model, batches = build(recipe, folder, args)
    _, batch = next(islice(batches.stream(Position()), 1))
    turn, first = model.settings.net_d_iters, open_iteration(model)
    fill_pool(model, batch, first)
    for number in range(args.steps):
        iterate(model, batch, first + turn * number)
    writer = BackgroundWriter(model)
    save_checkpoint(folder / "states", model, Position(first), writer=writer)
    iterate(model, batch, first + turn * args.steps)
    writer.collect(wait=True)
    peak = torch.cuda.max_memory_allocated() if args.device == "cuda" else read_peak()
    return {"bytes": peak, "crop": model.gt.shape[-1], "batch": len(model.gt)}


def run_apart(task: str, recipe: str, folder: Path, args: argparse.Namespace, *, is_saving: bool) -> dict[str, Any]:
    """One of these in a process of its own; empty if it failed, as where memory does not suffice."""
    command = [sys.executable, __file__, "--device", args.device, "--precision", args.precision, "--one", str(folder)]
    command += ["--steps", str(args.steps), "--recipes", recipe, "--task", task]
    command += (["--batch", str(args.batch)] if args.batch else []) + (["--saving"] if is_saving else [])
    ended = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    found: dict[str, Any] = json.loads(ended.stdout.splitlines()[-1]) if ended.returncode == 0 else {}
    return found


TASKS = {"foretell": foretell, "measure": measure}


def describe(foretell: dict[str, Any], measure: dict[str, Any]) -> str:
    """``1.83, foretold 1.79 (-2%)``."""
    texts = [f"{measure['bytes'] / 2**30:.2f}"] if measure else []
    if foretell:
        error = f" ({foretell['bytes'] / measure['bytes'] - 1:+.0%})" if measure else ""
        texts.append(f"foretold {foretell['bytes'] / 2**30:.2f}{error}")
    return ", ".join(texts) or "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--recipes", nargs="+", default=list(FILES), choices=list(FILES), metavar="NAME")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--batch", type=int, help="instead of the option file's")
    parser.add_argument("--steps", type=int, default=1, help="iterations before the one beside a checkpoint")
    parser.add_argument("--plain", action="store_true", help="without activation checkpointing alone")
    parser.add_argument("--saving", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--task", choices=list(TASKS), help=argparse.SUPPRESS)
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)  # the data, in a process that measures
    args = parser.parse_args()
    if args.one:
        print(json.dumps(TASKS[args.task](args.recipes[0], args.one, args)))
        return
    device = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{device}, {args.precision}, torch {torch.__version__}, Python {platform.python_version()}")
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = prepare_photographs(name, sub_image_size=288, sub_image_step=144)  # larger than every crop
        torch.save(torchvision.models.vgg19().features.state_dict(prefix="features."), folder / "vgg19.pth")
        for recipe in args.recipes:
            found = [
                {task: run_apart(task, recipe, folder, args, is_saving=is_saving) for task in TASKS}
                for is_saving in ((False,) if args.plain else (False, True))
            ]
            known = next((each["measure"] for each in found if each["measure"]), None)
            size = f"{known['crop']}, {known['batch']}" if known else "-"
            rows.append([recipe, size, *(describe(**each) for each in found)])
            print(*rows[-1], sep="; ", file=sys.stderr, flush=True)
    titles = ["recipe", "crop, batch", "peak, GiB", "with activation checkpointing, GiB"]
    print(format_table(titles[: 3 if args.plain else 4], rows))


if __name__ == "__main__":
    main()
