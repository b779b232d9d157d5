"""What ``val.spectra`` adds to the time of a validation while training.

Validates a model with the option off and on in turn, checks that the metrics are the same, and prints two figures:

- the ratio of the two times, TensorBoard's own thread included, which writes pictures beside; median over rounds; on a
  busy machine its noise is larger than what it measures;
- the share of a validation with the option on that is spent in the code that the option adds, timed call by call, less
  the time of the spectral-distance metric where the validation has that metric anyway. With ``--cpu-time`` that is the
  time of the thread that validates.

The first validation of a process is left out of both: there matplotlib is imported and the figure's axes are drawn.

    python benchmarks/bench_validation_spectra.py                    # RRDBNet (64 features, 23 blocks), critics at 128
    python benchmarks/bench_validation_spectra.py --quickstart       # networks and metrics of the quickstart
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import yaml
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from basicsr.evaluation.spectra import SpectraCollector, SpectraMonitor
from basicsr.metrics import Metric
from basicsr.models import build_model
from basicsr.utils.logger import init_tb_logger

QUICKSTART = Path(__file__).parents[1] / "options/train/quickstart.yml"
METRICS = {
    "psnr": {"type": "calculate_psnr", "crop_border": 4, "test_y_channel": True},
    "ssim": {"type": "calculate_ssim", "crop_border": 4, "test_y_channel": True},
}


class Pairs(Dataset[dict[str, Tensor]]):
    """Smooth random images and their means over 4x4 pixels."""

    def __init__(self, count: int, side: int) -> None:
        self.opt = {"name": "Pairs"}
        coarse = torch.rand(count, 3, side // 4, side // 4, generator=torch.Generator().manual_seed(0))
        self.gt = torch.nn.functional.interpolate(coarse, (4 * side, 4 * side), mode="bicubic").clamp(0, 1)
        self.lq = torch.nn.functional.avg_pool2d(self.gt, 4)

    def __len__(self) -> int:
        return len(self.gt)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"lq": self.lq[index], "gt": self.gt[index]}


def realistic_networks(gt_size: int) -> dict[str, Any]:
    swin = {
        "type": "SwinTransformer",
        "img_size": gt_size,
        "patch_size": 32,
        "num_classes": 1,
        "embed_dim": 96,
        "depths": [8, 2],
        "num_heads": [3, 6],
        "mlp_ratio": 4,
        "window_size": gt_size // 32,
    }
    return {
        "network_g": {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 64, "num_block": 23},
        "network_d": swin,
        "net_spectral_d": {**swin, "type": "SpectralDiscriminator2D", "version": "swin", "fix_normalize": True},
    }


def options(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    adam = {"type": "Adam", "lr": 1e-4}
    metrics: dict[str, Any] = METRICS
    gt_size, networks = 128, realistic_networks(128)
    if args.quickstart:
        text = QUICKSTART.read_text(encoding="utf-8").replace("!!float ", "")
        file = yaml.safe_load(text)
        gt_size, metrics = file["datasets"]["train"]["gt_size"], file["val"]["metrics"]
        networks = {key: file[key] for key in networks}
    return networks | {
        "name": "bench",
        "model_type": "ESRGANSpecModel",
        "scale": 4,
        "num_gpu": 0 if args.device == "cpu" else 1,
        "is_train": True,
        "path": {"experiments_root": str(folder), "visualization": str(folder / "visualization")},
        "datasets": {"train": {"gt_size": gt_size}},
        "train": {
            "optim_g": adam,
            "optim_d": adam,
            "optim_spectral_d": adam,
            "scheduler": {"type": "MultiStepLR", "milestones": [1000]},
            "pixel_opt": {"type": "L1Loss"},
            "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
        },
        "val": {"metrics": metrics, "pbar": False},
    }


class Stopwatch:
    """Adds up the time spent in functions that it wraps."""

    def __init__(self, device: str, cpu_time: bool) -> None:
        self.seconds = 0.0
        self._device = device
        self._clock = time.thread_time if cpu_time else time.perf_counter

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = self.now()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += self.now() - start

        return timed

    def now(self) -> float:
        if self._device == "cuda":
            torch.cuda.synchronize()
        return self._clock()


@contextmanager
def timed_parts(added: Stopwatch, metric: Stopwatch) -> Iterator[None]:
    """Within the block what the option adds, and the spectral-distance metric, are timed."""
    measure = Metric.measure
    timed = metric.wrap(measure)

    def measure_timed(self: Metric, *images: Any) -> Any:
        return (timed if self.name == "calculate_spectral_distance" else measure)(self, *images)

    patched = ((SpectraCollector, "add"), (SpectraCollector, "finish"), (SpectraMonitor, "record"))
    with ExitStack() as stack:
        for owner, name in patched:
            stack.enter_context(patch.object(owner, name, added.wrap(getattr(owner, name))))
        stack.enter_context(patch.object(Metric, "measure", measure_timed))
        yield


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quickstart", action="store_true", help="the quickstart's networks and metrics")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--side", type=int, default=128, help="side of LQ images in pixels")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--save-img", action="store_true", help="write validation images, as the quickstart does")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--cpu-time", action="store_true", help="measure the process's CPU time: for a busy machine")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        compare(args, Path(folder))


def compare(args: argparse.Namespace, folder: Path) -> None:
    torch.manual_seed(0)
    model = build_model(options(args, folder))
    described = model.val
    loader = DataLoader(Pairs(args.images, args.side), batch_size=1)
    writer = init_tb_logger(folder / "events")
    added, metric, generator = (Stopwatch(args.device, args.cpu_time) for _ in range(3))
    model.test = generator.wrap(model.test)
    clock = time.process_time if args.cpu_time else time.perf_counter

    def validate(iteration: int, is_on: bool) -> tuple[float, dict[str, Any]]:
        model.val = described.model_copy(update={"spectra": is_on})
        start = clock()
        result = model.validation(loader, iteration, writer, args.save_img)
        writer.flush()  # nothing of this validation is left to be done beside the next
        return clock() - start, result

    with timed_parts(added, metric):
        first, expected = validate(1, True)
        first_added, added.seconds = added.seconds, 0.0
        validate(2, False)
        metric.seconds = 0.0
        times: dict[bool, list[float]] = {False: [], True: []}
        generating: dict[bool, list[float]] = {False: [], True: []}
        for number in range(args.rounds):
            # Each goes first in turn: whatever the order does to the times cancels out.
            for is_on in (False, True) if number % 2 == 0 else (True, False):
                before = generator.seconds
                seconds, result = validate(3 + number, is_on)
                times[is_on].append(seconds)
                generating[is_on].append(generator.seconds - before)
                if result != expected:
                    raise SystemExit("the metrics are not the same with the option on")
    on, off = times[True], times[False]
    writer.close()
    extra = (added.seconds - metric.seconds) / args.rounds
    median = statistics.median(on)
    ratios = [a / b for a, b in zip(on, off)]
    print(
        f"device {args.device}, {torch.get_num_threads()} threads, {args.images} images of {args.side}x{args.side} (LQ)"
    )
    print(f"a validation with the option: {median:.2f} s (median of {args.rounds})")
    print(f"on / off: {statistics.median(ratios):.3f} (median; {min(ratios):.3f} to {max(ratios):.3f})")
    same = [a / b for a, b in zip(generating[True], generating[False])]
    print(
        f"on / off of the generator alone, which the option does not touch: {statistics.median(same):.3f} "
        f"({min(same):.3f} to {max(same):.3f})"
    )
    print(f"added: {1e3 * extra:.0f} ms, {100 * extra / median:.2f}% of a validation")
    print(f"added to the process's first validation: {first_added:.2f} s of {first:.2f} s")


if __name__ == "__main__":
    main()
