"""Time of the hard gated degradation against degrading whole images and cropping afterwards.

Every combination of gates is timed alternately in both ways on the same batch; the mean over combinations is weighted
with their probabilities. Run: ``python benchmarks/bench_degradation.py [--threads 2] [--device cpu]``.

``--second_order N`` measures Real-ESRGAN's degradation instead, which has no window: this thread's CPU time for each of
N drawn batches, on one thread. To compare two states of the package, let runs with either on ``PYTHONPATH`` take turns.
"""

from __future__ import annotations

import argparse
import itertools
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from basicsr.data.degradations import add_gaussian_noise_pt, add_poisson_noise_pt
from basicsr.degradation import DegradationParameters, HardGatedDegradation, SecondOrderDegradation
from basicsr.degradation.kernel_options import KernelMixture, render_kernel
from basicsr.degradation.parameters import GatedDraw, NoiseDraw
from basicsr.processing.diffjpeg import DiffJPEG
from basicsr.processing.filters import filter2D
from basicsr.utils.seeding import numpy_rng, torch_generator

MIXTURE = KernelMixture(
    kernel_list=["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"],
    kernel_prob=[0.45, 0.25, 0.12, 0.03, 0.12, 0.03],
    sinc_prob=0.1,
)
NOISE_KINDS = {None: 0.5, "gaussian": 0.25, "poisson": 0.25}


def degrade_whole(
    batch: dict[str, torch.Tensor], parameters: DegradationParameters, scale: int, jpeg: DiffJPEG
) -> torch.Tensor:
    """The straightforward way: each step on the whole images, then the crop."""
    samples: Any = parameters.samples
    x, draw = batch["gt"], samples[0]
    if draw.blur:
        x = filter2D(x, batch["kernel"])
    x = F.interpolate(x, scale_factor=1 / scale, mode="bicubic")
    if draw.noise is not None:
        strength = torch.tensor([sample.noise.strength for sample in samples], device=x.device)
        gray = torch.tensor([float(sample.noise.gray) for sample in samples], device=x.device)
        add = add_gaussian_noise_pt if draw.noise.kind == "gaussian" else add_poisson_noise_pt
        x = add(x, strength, gray_noise=gray, clip=True)
    if draw.jpeg_quality is not None:
        quality = torch.tensor([sample.jpeg_quality for sample in samples], device=x.device)
        x = jpeg(x.clamp(0, 1), quality)
    x = (x * 255.0).round().clamp(0, 255) / 255.0
    return x[..., draw.top : draw.top + parameters.height, draw.left : draw.left + parameters.width]


def open_gates(
    parameters: DegradationParameters, blur: bool, noise_kind: str | None, jpeg: bool
) -> DegradationParameters:
    """The drawn crop and strengths with the given gates."""
    samples = []
    drawn: Any = parameters.samples
    for index, sample in enumerate(drawn):
        strength = {"gaussian": 15.0, "poisson": 1.5}.get(noise_kind or "", 0.0)
        noise = None if noise_kind is None else NoiseDraw(noise_kind, strength, index % 5 < 2, 1000 + index)
        samples.append(GatedDraw(sample.top, sample.left, blur, noise, 40.0 + 3 * index if jpeg else None))
    return DegradationParameters(parameters.height, parameters.width, tuple(samples))


def measure(ways: list[Callable[[], object]], repeats: int, device: torch.device) -> list[float]:
    """Shortest time of each way in milliseconds, the ways taking turns."""
    times: list[list[float]] = [[] for _ in ways]
    for turn in range(repeats + 1):
        for way, record in zip(ways, times):
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            start = time.perf_counter()
            way()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            if turn:
                record.append((time.perf_counter() - start) * 1e3)
    return [min(record) for record in times]


def measure_second_order(count: int, gt: torch.Tensor, scale: int, gt_size: int) -> None:
    """Prints the CPU time of each batch in milliseconds, with the kernels and decisions of the published recipe."""
    torch.set_num_threads(1)
    pipeline = SecondOrderDegradation(scale=scale, gt_size=gt_size)
    times = []
    for number in range(count + 1):
        rng = numpy_rng("bench", number)
        names = ("kernel1", "kernel2", "sinc_kernel")
        kernels = {name: torch.stack([render_kernel(MIXTURE.draw_kernel(rng), 21) for _ in gt]) for name in names}
        start = time.thread_time()
        pipeline({"gt": gt, **kernels}, torch_generator("bench", number))
        times.append(1e3 * (time.thread_time() - start))
    print("second order, ms of CPU a batch:", *(f"{value:.0f}" for value in times[1:]))
    print(f"mean {statistics.mean(times[1:]):.0f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--size", type=int, default=400)
    parser.add_argument("--gt_size", type=int, default=128)
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--second_order", type=int, metavar="N", help="measure N batches of the second-order one")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.device(args.device)

    coarse = torch.rand(args.batch, 3, args.size // 8, args.size // 8, generator=torch_generator("bench", 0))
    gt = F.interpolate(coarse, size=(args.size, args.size), mode="bicubic").clamp(0, 1)
    if args.second_order:
        measure_second_order(args.second_order, gt, args.scale, args.gt_size)
        return
    kernels = torch.rand(args.batch, 21, 21, generator=torch_generator("bench", 1))
    batch = {"gt": gt.to(device), "kernel": (kernels / kernels.sum((1, 2), keepdim=True)).to(device)}
    pipeline = HardGatedDegradation(scale=args.scale, gt_size=args.gt_size)
    drawn = pipeline.draw(args.batch, args.size, args.size, torch_generator("bench", 2))
    jpeg = DiffJPEG(differentiable=False).to(device)

    print(f"{args.batch} images {args.size}x{args.size}, crop {args.gt_size}, x{args.scale}, {device}", end="")
    print(f", {args.threads} threads; shortest of {args.repeats}, ms")
    print(f"{'blur':>5} {'noise':>9} {'jpeg':>5} {'whole':>9} {'window':>9} {'ratio':>7}")
    means = [0.0, 0.0]
    for blur, (kind, share), has_jpeg in itertools.product((False, True), NOISE_KINDS.items(), (False, True)):
        parameters = open_gates(drawn, blur, kind, has_jpeg)
        ways: list[Callable[[], object]] = [
            lambda p=parameters: degrade_whole(batch, p, args.scale, jpeg),  # type: ignore[misc]
            lambda p=parameters: pipeline.apply(batch, p),  # type: ignore[misc]
        ]
        whole, window = measure(ways, args.repeats, device)
        means = [mean + share / 4 * value for mean, value in zip(means, (whole, window))]
        print(f"{blur!s:>5} {kind or '-':>9} {has_jpeg!s:>5} {whole:9.2f} {window:9.2f} {window / whole:7.3f}")
    print(f"{'weighted mean':>21} {means[0]:9.2f} {means[1]:9.2f} {means[1] / means[0]:7.3f}")


if __name__ == "__main__":
    main()
