"""What a training would need on paper: 1 to 64 GPUs, 800 to 10^8 images, from a few measured figures. Nothing is run.

    python benchmarks/scaling.py                # the tables of docs/scaling.md
    python benchmarks/scaling.py --measure      # measures what lists and orders of images cost on this machine

The model is the plainest there is: a step takes as long as on one GPU, then all gradients go round a ring once, with
nothing done meanwhile. So it errs towards too slow a network; it knows no stragglers.
"""

from __future__ import annotations

import argparse
import math
import resource
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from basicsr.data.data_util import paired_paths_from_meta_info_file

# Measured: docs/recipes.md, train_esrgan_x4_dual_former on one H100.
BATCH = 16
STEP_S = 0.285
PARAMETERS = 21.0e6
# The aim of a step that the GPU bounds, not the host: 200 images a second. Not measured.
AIM_STEP_S = BATCH / 200

# Measured on two idle AVX2 cores, thread time of one of them, "paired, crop 128":
# python benchmarks/bench_dataset.py --rounds 9 --workers 0
PNG_CORE_S = 12.83e-3
PNG_BYTES = 464e3  # of a pair: 480x480 and 120x120 pixels
# Measured: the same with --source jpeg and simplejpeg, the slower two of three runs.
JPEG_CORE_S = 3.1e-3
JPEG_BYTES = 116e3

# Measured there: --measure --counts 1000000 (at 100,000: 460, 11.5, 29, 0.04).
LIST_BYTES = 409
LIST_S = 11.1e-6
ORDER_BYTES = 31
ORDER_S = 0.04e-6

# Assumed, effective bytes a second: within a machine of 8 GPUs, and of a machine's link to the others.
GPUS_PER_MACHINE = 8
NVLINK, PCIE, ETHERNET = 300e9, 25e9, 12e9

GPUS = (1, 2, 4, 8, 16, 32, 64)
IMAGES = (800, 10**4, 10**5, 10**6, 10**7, 10**8)


@dataclass(frozen=True)
class Cluster:
    """Machines of eight GPUs.

    Attributes:
        gpus: Number of GPUs, one process each.
        inside: Bytes a second of a GPU to its neighbour in the machine.
        between: Bytes a second of a machine to the next.
    """

    gpus: int
    inside: float = NVLINK
    between: float = ETHERNET

    def reduction_s(self, size: float) -> float:
        """Seconds of a mean of ``size`` bytes over all GPUs: a ring in each machine, then one of machines.

        A ring of n passes 2 (n - 1) / n times the size over each link (Patarasuk and Yuan, 2009).
        """
        local = min(self.gpus, GPUS_PER_MACHINE)
        machines = math.ceil(self.gpus / GPUS_PER_MACHINE)
        return size * (_rounds(local) / self.inside + _rounds(machines) / self.between)

    def images_per_s(self, step_s: float) -> float:
        """Images a second of all GPUs."""
        return self.gpus * BATCH / (step_s + self.reduction_s(gradient_bytes()))


def _rounds(members: int) -> float:
    return 2 * (members - 1) / members


def gradient_bytes() -> float:
    """Gradients of all networks of an iteration in float32."""
    return 4 * PARAMETERS


def tabulate_gpus(step_s: float) -> str:
    """Speed and needs by the number of GPUs."""
    rows = [
        [
            "GPUs",
            "steps/s",
            "images/s",
            "of ideal, NVLink",
            "of ideal, PCIe",
            "loading cores, PNG (JPEG)",
            "read MB/s, PNG (JPEG)",
        ]
    ]
    for gpus in GPUS:
        cluster = Cluster(gpus)
        speed, ideal = cluster.images_per_s(step_s), gpus * BATCH / step_s
        slower = Cluster(gpus, inside=PCIE).images_per_s(step_s)
        rows.append(
            [
                str(gpus),
                f"{speed / gpus / BATCH:.2f}",
                f"{speed:,.0f}",
                f"{speed / ideal:.1%}",
                f"{slower / ideal:.1%}",
                f"{math.ceil(speed * PNG_CORE_S)} ({math.ceil(speed * JPEG_CORE_S)})",
                f"{speed * PNG_BYTES / 1e6:,.0f} ({speed * JPEG_BYTES / 1e6:,.0f})",
            ]
        )
    return _markdown(rows)


def tabulate_images() -> str:
    """Needs by the number of sub-images."""
    rows = [
        [
            "sub-images",
            "storage, PNG (JPEG)",
            "list in each process",
            "reading the list",
            "order, one process",
            "order, 64 processes",
            "making the order",
        ]
    ]
    for images in IMAGES:
        rows.append(
            [
                f"{images:,}",
                f"{_size(images * PNG_BYTES)} ({_size(images * JPEG_BYTES)})",
                _size(images * LIST_BYTES),
                f"{images * LIST_S:,.1f} s",
                _size(order_bytes(images, 1)),
                _size(order_bytes(images, 64)),
                f"{images * ORDER_S:,.1f} s",
            ]
        )
    return _markdown(rows)


def order_bytes(images: int, processes: int) -> float:
    """Peak bytes of an epoch's order in one of several processes: the permutation, and its own share as numbers."""
    return images * (8 + ORDER_BYTES / processes)


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:,.0f} {unit}" if count >= 10 or unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:,.1f} TB"


def _markdown(rows: list[list[str]]) -> str:
    head, *body = rows
    return "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])


def make_tables() -> dict[str, str]:
    """The tables of ``docs/scaling.md`` by name."""
    return {
        "measured step": tabulate_gpus(STEP_S),
        "aimed step": tabulate_gpus(AIM_STEP_S),
        "images": tabulate_images(),
    }


def measure(count: int) -> str:
    """Bytes and seconds that a list of pairs and an epoch's order take by image, from a growing process."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "pairs.txt")
        file.write_text("".join(f"{i:08d}_s{i % 100:03d}.png, {i:08d}_s{i % 100:03d}.png\n" for i in range(count)))
        before, began = _resident(), time.process_time()
        roots = ["/data/DF2K/LR_bicubic/X4_sub", "/data/DF2K/HR_sub"]
        entries = paired_paths_from_meta_info_file(roots, ["lq", "gt"], str(file), "{}")
        listing, spent = (_resident() - before) / len(entries), (time.process_time() - began) / count
    before, began = _resident(), time.process_time()
    order = torch.randperm(count).tolist()
    ordering = (_resident() - before) / len(order)
    seconds = (time.process_time() - began) / count
    return (
        f"{count:,} pairs: list {listing:.0f} bytes, {1e6 * spent:.1f} us; "
        f"order {ordering:.0f} bytes, {1e6 * seconds:.2f} us an image"
    )


def _resident() -> int:
    """Resident bytes of this process."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", action="store_true", help="measure lists and orders instead")
    parser.add_argument("--counts", type=int, nargs="+", default=[10**5, 10**6], help="lengths to measure")
    args = parser.parse_args()
    if args.measure:
        for count in args.counts:
            print(measure(count))
        return
    for name, table in make_tables().items():
        print(f"{name}\n\n{table}\n")


if __name__ == "__main__":
    main()
