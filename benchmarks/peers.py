"""BasicSR 1.4.2 and this package side by side: the same work in two processes, paired CPU time of one thread each.

BasicSR is fetched from the package index by pip into a temporary folder, or taken from ``--basicsr``. Both packages
have the same name, so each runs in a worker process with an import path of its own (``peers_worker.py``). What is
measured is written once, with the names that both publish. Where two workers can give equal results (losses, metrics,
images) they are compared first. Then they are told in turn to do the work, and the median of the ratios of process CPU
time is shown.

    python benchmarks/peers.py
    python benchmarks/peers.py --only esrgan_step --rounds 15 --json peers.json
    python benchmarks/peers.py --basicsr /path/to/basicsr-1.4.2

The ESRGAN step has a generator of 6 blocks and 32 features, the VGG-style critic of 64, four crops of 128, the
L1 and the GAN loss, and no perceptual loss on either side: its network is the same in both.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import platform
import statistics
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RELEASE = "1.4.2"


@dataclass(frozen=True)
class Row:
    """One thing that both packages do.

    Attributes:
        what: In words.
        tolerance: Largest relative difference of the two results; ``None`` where each draws its own random numbers.
    """

    what: str
    tolerance: float | None


ROWS = {
    "esrgan_step": Row("training step of ESRGAN, 6 blocks x 32 features, batch 4, GT 128, no perceptual loss", 1e-3),
    "degradation": Row("second-order degradation of Real-ESRGAN, batch 4 of 400 px to crops of 256", None),
    "png": Row("a training batch of 16 pairs, GT crop 128, from PNG of 480 px", 1e-6),
    "lmdb": Row("the same from LMDB", 1e-6),
    "png_received": Row("20 such batches from PNG, loaded by two processes: CPU time of the process that trains", 1e-6),
    "lmdb_received": Row("the same from LMDB", 1e-6),
    "psnr": Row("PSNR-Y of 480 px", 1e-6),
    "ssim": Row("SSIM-Y of 480 px", 1e-6),
    "niqe": Row("NIQE of 480 px", 1e-3),
    "validation": Row("validation of 2 images of 480 px, 6 blocks x 32 features, PSNR and SSIM", 1e-4),
}


def fetch(folder: Path) -> Path:
    """Downloads the release and unpacks it; the folder that holds the package ``basicsr``."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--no-build-isolation", "--dest", str(folder)]
    done = subprocess.run([*command, f"basicsr=={RELEASE}"], capture_output=True, text=True)
    archives = [file for file in folder.iterdir() if file.suffix in (".whl", ".gz", ".zip")]
    if not archives:
        reason = (done.stderr.strip() or done.stdout.strip() or "no reason given").splitlines()[-1]
        raise SystemExit(
            f"pip could not download basicsr {RELEASE} ({reason}).\nWithout a network, unpack its source archive "
            "yourself and name the folder: python benchmarks/peers.py --basicsr FOLDER"
        )
    unpacked = folder / "unpacked"
    if archives[0].suffix == ".gz":
        with tarfile.open(archives[0]) as archive:
            archive.extractall(unpacked, filter="data")
    else:
        with zipfile.ZipFile(archives[0]) as archive:
            archive.extractall(unpacked)
    return find_package(unpacked)


def find_package(folder: Path) -> Path:
    """The folder in or below ``folder`` that holds ``basicsr/__init__.py``."""
    for candidate in (folder, *sorted(folder.glob("*/"))):
        if (candidate / "basicsr/__init__.py").is_file():
            return candidate
    raise SystemExit(f"{folder} holds no package basicsr; name the folder of an unpacked source archive")


class Worker:
    """A process that imports one of the packages and does as it is told, a line of JSON each way."""

    def __init__(self, side: str, package: Path, data: Path) -> None:
        self.side = side
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        environment = {**os.environ, **threads, "PYTHONPATH": str(package), "PYTHONSAFEPATH": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(HERE / "peers_worker.py"), side, str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=data,
        )

    def ask(self, **order: Any) -> Any:
        """Sends an order and waits for its result."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"the worker of {self.side} ended while it worked on {order}; see its message above")
        return json.loads(answer)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


@contextmanager
def working(packages: dict[str, Path], data: Path) -> Iterator[dict[str, Worker]]:
    with ExitStack() as stack:
        workers = {side: Worker(side, package, data) for side, package in packages.items()}
        for worker in workers.values():
            stack.callback(worker.close)
        yield workers


def largest_difference(one: list[float], two: list[float]) -> float:
    """Largest relative difference of two lists of equal length; infinite if their lengths differ."""
    if len(one) != len(two) or not all(map(math.isfinite, one + two)):
        return math.inf
    return max(abs(a - b) / max(abs(a), abs(b), 1e-6) for a, b in zip(one, two))


def compare(name: str, workers: dict[str, Worker], rounds: int) -> dict[str, Any]:
    """Checks that results agree, and times both sides in turn."""
    row = ROWS[name]
    results = {side: worker.ask(prepare=name) for side, worker in workers.items()}
    difference = largest_difference(*results.values())
    if row.tolerance is not None and difference > row.tolerance:
        raise SystemExit(f"{name}: results differ by {difference:.1e}: {results}")
    times: dict[str, list[float]] = {side: [] for side in workers}
    for number in range(rounds):
        for side in list(workers)[:: -1 if number % 2 else 1]:
            times[side].append(workers[side].ask(run=name))
    ratios = [ours / theirs for ours, theirs in zip(times["this"], times["basicsr"], strict=True)]
    return {
        "what": row.what,
        "difference": None if row.tolerance is None else difference,
        "ratio": statistics.median(ratios),
        "range": [min(ratios), max(ratios)],
        "seconds": {side: statistics.median(values) for side, values in times.items()},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--basicsr", type=Path, help=f"folder of an unpacked BasicSR {RELEASE}, instead of a download")
    parser.add_argument(
        "--only", nargs="+", choices=list(ROWS), default=list(ROWS), metavar="NAME", help=", ".join(ROWS)
    )
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="write the figures to this file as well")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source = find_package(args.basicsr.resolve()) if args.basicsr else fetch(folder)
        packages = {"this": HERE.parent, "basicsr": source}
        figures = {}
        with working(packages, folder) as workers:
            versions = workers["this"].ask(make="data")
            about = f"{platform.machine()}, Python {platform.python_version()}, {versions}, one thread"
            print(f"{about}; CPU time of this package / of BasicSR {RELEASE}, median of {args.rounds} pairs")
            print(f"{'':12s} {'ratio':>6s}  {'range':14s} {'this':>10s} {'BasicSR':>10s}  {'differ by':9s}  what")
            for row in args.only:
                figure = figures[row] = compare(row, workers, args.rounds)
                low, high = figure["range"]
                ours, theirs = (f"{1e3 * figure['seconds'][side]:.1f} ms" for side in ("this", "basicsr"))
                differ = "-" if figure["difference"] is None else f"{figure['difference']:.0e}"
                print(
                    f"{row:12s} {figure['ratio']:6.2f}  {f'{low:.2f} to {high:.2f}':14s} {ours:>10s} {theirs:>10s}  "
                    f"{differ:9s}  {figure['what']}",
                    flush=True,
                )
    if args.json:
        args.json.write_text(json.dumps({"about": about, "rounds": args.rounds, "rows": figures}, indent=2) + "\n")


if __name__ == "__main__":
    main()
