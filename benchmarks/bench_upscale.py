"""What ``basicsr upscale`` adds to its network: reading, writing, seams of tiles, as far as they do not overlap.

Pictures, or the frames of a clip, go through the command's pipeline; then the network alone gets the same tensors,
tile by tile. Rounds alternate, and the median of their ratios counts: 1.00 is the network's own speed. Models are
loaded, and measured for tiles, before. Where other programs take the processor, the clock says little; the time of
the thread in which the network runs then tells what does not overlap, but for waiting.

    python benchmarks/bench_upscale.py [--model faithful] [--device cuda] [--video] [--threads 1]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from basicsr import load_model
from basicsr.upscaling.inputs import Job
from basicsr.upscaling.model import Upscaler
from basicsr.upscaling.pipeline import Pipeline


def make_photograph(generator: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Something that compresses as photographs do: smooth, with some noise."""
    coarse = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    noise = generator.integers(0, 8, (height, width, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) // 2 + noise


def make_jobs(folder: Path, args: argparse.Namespace) -> list[Job]:
    """Pictures, or one clip of as many frames."""
    generator = np.random.default_rng(0)
    pictures = [make_photograph(generator, args.height, args.width) for _ in range(args.count)]
    if not args.video:
        jobs = []
        for index, picture in enumerate(pictures):
            file = folder / f"{index}.{args.format}"
            cv2.imwrite(str(file), picture)
            jobs.append(Job(file, folder / "out" / file.name, file.suffix))
        return jobs
    import av

    with av.open(str(folder / "clip.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = args.width, args.height, "yuv420p"
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        container.mux(stream.encode(None))
    return [Job(folder / "clip.mp4", folder / "out" / "clip.mp4", ".mp4")]


def synchronize(model: Upscaler) -> None:
    if model.net.device.type == "cuda":
        torch.cuda.synchronize(model.net.device)


Times = tuple[float, float]
"""Seconds of the clock, and of this thread."""


def read_clocks() -> Times:
    return time.perf_counter(), time.thread_time()


def since(start: Times) -> Times:
    now = read_clocks()
    return now[0] - start[0], now[1] - start[1]


def time_command(model: Upscaler, jobs: list[Job], batch: int) -> Times:
    """What the pipeline takes."""
    start = read_clocks()
    outcome = Pipeline(model, batch=batch).run(jobs)
    seconds = since(start)
    assert outcome.written == len(jobs) and not outcome.bad_files, outcome
    return seconds


@torch.inference_mode()
def time_network(model: Upscaler, shapes: list[tuple[int, ...]]) -> Times:
    """What the network takes for tensors of these shapes."""
    inputs = {shape: torch.rand(shape, device=model.net.device) for shape in set(shapes)}
    synchronize(model)
    start = read_clocks()
    for shape in shapes:
        model.net(inputs[shape])
    synchronize(model)
    return since(start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="faithful")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--count", type=int, default=16, help="pictures, or frames")
    parser.add_argument("--height", type=int, default=240)
    parser.add_argument("--width", type=int, default=320)
    parser.add_argument("--format", default="png", help="of pictures")
    parser.add_argument("--batch", type=int, default=1)
    parser.add_argument("--tile", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--video", action="store_true", help="a clip, not pictures")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    model = load_model(args.model, device=args.device, tile=args.tile)
    with tempfile.TemporaryDirectory() as name:
        jobs = make_jobs(Path(name), args)
        time_command(model, jobs, args.batch)
        shapes: list[tuple[int, ...]] = []
        hook = model.net.register_forward_pre_hook(lambda _, inputs: shapes.append(_shape_of(inputs[0])))
        time_command(model, jobs, args.batch)
        hook.remove()
        rounds = [(time_command(model, jobs, args.batch), time_network(model, shapes)) for _ in range(args.rounds)]
    pixels = sum(shape[0] * shape[-2] * shape[-1] for shape in shapes) / 1e6
    what = f"a clip of {args.count} frames" if args.video else f"{args.count} pictures"
    print(f"{what} of {args.width}x{args.height}, {args.model} on {args.device}, {args.threads} threads")
    for kind, clock in enumerate(("clock", "thread")):
        command, network = (statistics.median(pixels / entry[way][kind] for entry in rounds) for way in (0, 1))
        ratio = statistics.median(alone[kind] / whole[kind] for whole, alone in rounds)
        print(f"{clock}: the network alone {network:.3f} MP/s, the command {command:.3f} MP/s of its input")
        print(f"command / network: {ratio:.2f}")


def _shape_of(image: Tensor) -> tuple[int, ...]:
    return tuple(image.shape)


if __name__ == "__main__":
    main()
