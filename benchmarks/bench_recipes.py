"""Time and memory of a training iteration of every recipe, at the size that its option file asks for.

Networks, losses, crop and batch are the option file's. Photographs that scikit-image ships stand in for its data, and
random numbers for the pretrained weights: neither changes what is computed. A few batches are loaded beforehand, so an
iteration is what follows loading: the copy to the device, the degradation, the step of the generator and the critics.
Memory is what PyTorch had allocated at its highest.

    python benchmarks/bench_recipes.py                                   # all recipes, as their files are
    python benchmarks/bench_recipes.py --precision bf16
    python benchmarks/bench_recipes.py --device cpu --batch 1 --steps 1 --recipes train_esrnet_x4_hgd
"""

from __future__ import annotations

import argparse
import gc
import json
import platform
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import torchvision
from torch import Tensor
from tqdm import tqdm

from basicsr.engine.loaders import build_training_batches
from basicsr.engine.training import seed_networks
from basicsr.evaluation.tables import format_table
from basicsr.models import build_model
from basicsr.models.checkpoint import Position
from basicsr.options import parse_options
from basicsr.options.load import load_file
from basicsr.preparation.photographs import prepare_photographs
from basicsr.utils.seeding import choose_algorithms

FILES = {file.stem: file for file in sorted((Path(__file__).parents[1] / "options/train").glob("train_*.yml"))}
NUM_BATCHES = 4


@dataclass(frozen=True)
class Cost:
    """What one recipe takes.

    Attributes:
        seconds: Per iteration.
        batch: Images in it.
        gt_size: Side of their GT crops in pixels.
        bytes: Most memory allocated on the GPU, for everything; 0 on a CPU.
        num_parameters: Of all networks that train.
    """

    seconds: float
    batch: int
    gt_size: int
    bytes: int
    num_parameters: int


def overrides(file: Path, folder: Path, args: argparse.Namespace) -> list[str]:
    """What lets a recipe run without its data and weights."""
    recipe = load_file(file).data
    train = recipe["datasets"]["train"]
    changes: dict[str, Any] = {
        "num_gpu": 0 if args.device == "cpu" else 1,
        "path:pretrain_network_g": None,
        "val": None,
        "logger:use_tb_logger": False,
        "train:precision": args.precision,
        "datasets:train:dataroot_gt": str(folder / "train/HR"),
        "datasets:train:num_worker_per_gpu": 0,
    }
    changes |= {f"datasets:train:{key}": None for key in ("meta_info", "meta_info_file", "prepare") if key in train}
    if "val" in recipe["datasets"]:
        changes["datasets:val"] = None
    if "dataroot_lq" in train:
        changes["datasets:train:dataroot_lq"] = str(folder / "train/LR_bicubic/X4")
    if "perceptual_opt" in recipe["train"]:
        changes["train:perceptual_opt:pretrained_path"] = str(folder / "vgg19.pth")
    for name, loss in recipe.get("losses", {}).items():
        if loss["type"] == "PerceptualLoss":
            changes[f"losses:{name}:pretrained_path"] = str(folder / "vgg19.pth")
    if args.batch:
        changes["datasets:train:batch_size_per_gpu"] = args.batch
        if "queue_size" in recipe:
            changes["queue_size"] = 4 * args.batch
    return [f"{key}={json.dumps(value)}" for key, value in changes.items()]


def measure(file: Path, folder: Path, args: argparse.Namespace) -> Cost:
    """Trains a recipe for some iterations."""
    opt, _ = parse_options(folder, argv=["-opt", str(file), "--force_yml", *overrides(file, folder, args)])
    seed_networks(opt)
    choose_algorithms(deterministic=False, tf32=args.precision == "tf32")
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    model: Any = build_model(opt)
    stream = build_training_batches(opt).stream(Position())
    batches = [batch for _, batch in islice(stream, NUM_BATCHES)]
    # The generator steps in every `net_d_iters`-th iteration: whole rounds, or the mean is off.
    turn = int(opt["train"].get("net_d_iters") or 1)
    # Beyond SPSR's first iterations, in which its branch trains alone.
    first = int(opt["train"].get("branch_init_iters") or 0) + 1
    warmup, steps = (-(-count // turn) * turn for count in (args.warmup, args.steps))
    for number in range(warmup):
        iterate(model, batches[number % NUM_BATCHES], first + number)
    wait(args.device)
    start = time.perf_counter()
    for number in range(warmup, warmup + steps):
        iterate(model, batches[number % NUM_BATCHES], first + number)
    wait(args.device)
    seconds = (time.perf_counter() - start) / steps
    if not all(torch.isfinite(value) for value in model.log_dict.values()):
        raise SystemExit(f"{file.stem}: a loss is not finite: {model.get_current_log()}")
    memory = torch.cuda.max_memory_allocated() if args.device == "cuda" else 0
    parameters = sum(p.numel() for net in model.networks().values() for p in net.parameters())
    return Cost(seconds, len(model.gt), model.gt.shape[-1], memory, parameters)


def fill_pool(model: Any, batch: Mapping[str, Tensor], iteration: int) -> None:
    """Has the model's pool of pairs, if it has one, take as many batches as there is room for."""
    for _ in range(model.options.pool_size // len(batch["gt"])):
        model.begin_iteration(iteration)
        model.feed_data(batch)


def iterate(model: Any, batch: Mapping[str, Tensor], iteration: int) -> None:
    model.begin_iteration(iteration)
    model.feed_data(batch)
    model.optimize_parameters(iteration)
    model.update_learning_rate(iteration)


def wait(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=["cuda", "cpu"])
    parser.add_argument("--recipes", nargs="+", default=list(FILES), choices=list(FILES), metavar="NAME")
    parser.add_argument("--precision", default="fp32", choices=["fp32", "tf32", "bf16", "fp16"])
    parser.add_argument("--batch", type=int, help="instead of the option file's")
    parser.add_argument("--steps", type=int, default=20, help="iterations that are timed")
    parser.add_argument("--warmup", type=int, default=10, help="iterations before those")
    args = parser.parse_args()
    rows: list[list[object]] = []
    with tempfile.TemporaryDirectory() as name:
        folder = prepare_photographs(name, sub_image_size=288, sub_image_step=144)  # larger than every crop
        torch.save(torchvision.models.vgg19().features.state_dict(prefix="features."), folder / "vgg19.pth")
        for recipe in tqdm(args.recipes, unit="recipe", disable=None):
            cost = measure(FILES[recipe], folder, args)
            rows.append(
                [
                    recipe,
                    f"{cost.gt_size}, {cost.batch}",
                    f"{cost.num_parameters / 1e6:.1f}",
                    f"{1e3 * cost.seconds:.0f}",
                    f"{cost.batch / cost.seconds:.0f}",
                    f"{cost.bytes / 2**30:.1f}" if cost.bytes else "-",
                ]
            )
            gc.collect()
            if args.device == "cuda":
                torch.cuda.empty_cache()
    device = torch.cuda.get_device_name() if args.device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    print(f"{device}, {args.precision}, torch {torch.__version__}, Python {platform.python_version()}")
    titles = ["recipe", "crop, batch", "parameters, M", "ms / iteration", "images / s", "memory, GiB"]
    print(format_table(titles, rows))


if __name__ == "__main__":
    main()
