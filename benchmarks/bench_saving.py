"""How long a checkpoint holds up the training loop, and how much slower the step beside it is.

Networks and optimizers are a recipe's; photographs that scikit-image ships stand in for its data, and random numbers
for the pretrained weights; a pool of pairs is full. The loop is held up by the call that begins a save, and where the
next step waits for the rest of the copy. Steps alternate: one beside a save that is being written, one alone.

    python benchmarks/bench_saving.py --device cpu --threads 1
    python benchmarks/bench_saving.py --device cpu --threads 1 --recipe train_esrgan_x4 --saves 5
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torchvision
from bench_recipes import FILES, fill_pool, iterate, overrides

from basicsr.engine.loaders import build_training_batches
from basicsr.engine.step_trial import open_iteration
from basicsr.engine.training import seed_networks
from basicsr.models import build_model
from basicsr.models.checkpoint import Position, save_checkpoint
from basicsr.models.saving import BackgroundWriter, StepGate, list_tensors
from basicsr.options import parse_options
from basicsr.preparation.photographs import prepare_photographs


class Clock:
    """Adds up the milliseconds of a thread's calls: elapsed, and CPU time of this thread."""

    def __init__(self) -> None:
        self.elapsed = self.cpu = 0.0

    def time(self, call: Callable[[], Any]) -> Any:
        elapsed, cpu = time.perf_counter(), time.thread_time()
        found = call()
        self.elapsed += 1e3 * (time.perf_counter() - elapsed)
        self.cpu += 1e3 * (time.thread_time() - cpu)
        return found


def run(folder: Path, args: argparse.Namespace) -> None:
    file = FILES[args.recipe]
    opt, _ = parse_options(folder, argv=["-opt", str(file), "--force_yml", *overrides(file, folder, args)])
    seed_networks(opt)
    model: Any = build_model(opt)
    _, batch = next(islice(build_training_batches(opt).stream(Position()), 1))
    iteration = open_iteration(model)
    fill_pool(model, batch, iteration)

    held = Clock()
    for name in ("wait_for_pool", "wait"):
        waits = getattr(StepGate, name)
        setattr(StepGate, name, lambda gate, waits=waits: held.time(lambda: waits(gate)))
    writer = BackgroundWriter(model)
    iterate(model, batch, iteration)
    size = sum(tensor.nbytes for tensor in list_tensors(model.training_state()))
    print(f"{args.recipe}: a state of {size / 2**20:.0f} MiB in {len(list_tensors(model.training_state()))} tensors")

    holds, ratios = [], []
    for number in range(args.saves):
        held.elapsed = held.cpu = 0.0
        weights = {folder / "models" / path.name: nets for path, nets in model.weights_files(number).items()}
        held.time(
            lambda n=number, w=weights: save_checkpoint(
                folder / "training_states", model, Position(n), keep=1, weights=w, writer=writer
            )
        )
        beside, alone = Clock(), Clock()
        beside.time(lambda: iterate(model, batch, iteration))
        elapsed, cpu = held.elapsed, held.cpu
        writer.collect(wait=True)
        alone.time(lambda: iterate(model, batch, iteration))
        for path in weights:
            path.unlink()
        holds.append((elapsed, cpu))
        ratios.append((beside.elapsed / alone.elapsed, beside.cpu / alone.cpu))
        print(
            f"save {number + 1}: held up {elapsed:.0f} ms, {cpu:.0f} of CPU; "
            f"step beside it {beside.elapsed:.0f} ms ({beside.cpu:.0f} of CPU), "
            f"alone {alone.elapsed:.0f} ({alone.cpu:.0f})"
        )
    for name, values in (("held up, ms", holds), ("step beside a save / alone", ratios)):
        columns = [
            f"{statistics.median(column):.3g} ({min(column):.3g} to {max(column):.3g})" for column in zip(*values)
        ]
        print(f"{name}: elapsed {columns[0]}, CPU {columns[1]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--recipe", default="train_esrgan_x4_dual_former", choices=list(FILES), metavar="NAME")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "bf16", "fp16"])
    parser.add_argument("--batch", type=int, default=1, help="images of a step")
    parser.add_argument("--saves", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as name:
        folder = prepare_photographs(name, sub_image_size=288, sub_image_step=144)  # larger than every crop
        torch.save(torchvision.models.vgg19().features.state_dict(prefix="features."), folder / "vgg19.pth")
        run(folder, args)


if __name__ == "__main__":
    main()
