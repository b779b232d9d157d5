"""How much a sample costs beyond decoding its image: the whole chain against bare ``cv2.imdecode``, in one run.

Both read the same files, 480x480 sub-images of photographs that scikit-image ships, alternately and on one thread; the
thread's own time is taken, so that other processes do not count. "Chain" is everything a loading process does for a
sample in a training: decode, crop, flip, kernel; images stay uint8, which the model's device turns into floats. Run::

    python benchmarks/bench_dataset.py [--source png|jpeg|meta_info|lmdb] [--rounds 15] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from skimage import data

from basicsr.data import (
    GatedDegradationDataset,
    PairedImageDataset,
    RealESRGANDataset,
    RealESRGANPairedDataset,
    SampleIndex,
    build_dataloader,
)
from basicsr.data.image_dataset import ImageDataset, keep_depth
from basicsr.data.transforms import reduce_bicubic
from basicsr.preparation import create_lmdb

FLOOR = 1.3
KERNELS = {
    "kernel_list": ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"],
    "kernel_prob": [0.45, 0.25, 0.12, 0.03, 0.12, 0.03],
    "sinc_prob": 0.1,
}


def write_images(root: Path, suffix: str = ".png") -> None:
    """Sub-images of 480x480 and their x4 reductions, as PNG or (quality 95) JPEG."""
    (root / "HR").mkdir()
    (root / "LR").mkdir()
    photographs = [data.astronaut(), data.stereo_motorcycle()[0], data.stereo_motorcycle()[1], data.hubble_deep_field()]
    for number, image in enumerate(photographs):
        for part, left in enumerate(range(0, image.shape[1] - 479, 240)):
            hr = np.ascontiguousarray(image[:480, left : left + 480, ::-1])
            options = [cv2.IMWRITE_JPEG_QUALITY, 95] if suffix == ".jpg" else [cv2.IMWRITE_PNG_COMPRESSION, 3]
            cv2.imwrite(str(root / "HR" / f"{number}_{part}{suffix}"), hr, options)
            cv2.imwrite(str(root / "LR" / f"{number}_{part}{suffix}"), reduce_bicubic(hr, 4), options)


def describe_sources(root: Path, source: str) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Makes lists or databases where the source needs them; options of GT alone, of a blind list, and of pairs."""
    gt, pairs = {"dataroot_gt": str(root / "HR")}, {"dataroot_lq": str(root / "LR")}
    if source == "lmdb":
        backend = {"io_backend": {"type": "lmdb"}}
        for folder in ("HR", "LR"):
            create_lmdb(root / folder, root / f"{folder}.lmdb", num_workers=1, compress_level=3)
        return {"dataroot_gt": str(root / "HR.lmdb"), **backend}, {}, {"dataroot_lq": str(root / "LR.lmdb")}
    if source == "meta_info":
        names = sorted(path.name for path in (root / "HR").iterdir())
        (root / "gt.txt").write_text("".join(f"{name}\n" for name in names))
        (root / "pairs.txt").write_text("".join(f"{name}, {name}\n" for name in names))
        return gt, {"meta_info": str(root / "gt.txt")}, {**pairs, "meta_info": str(root / "pairs.txt")}
    return gt, {}, pairs


def build_datasets(root: Path, source: str = "png") -> dict[str, ImageDataset]:
    gt, blind, pairs = describe_sources(root, source)
    common = {**gt, "phase": "train", "scale": 4, "gt_size": 128, "use_hflip": True}
    datasets: dict[str, ImageDataset] = {
        "paired, crop 128": PairedImageDataset({**common, **pairs, "use_rot": True}),
        "gated, crop 400": GatedDegradationDataset({**common, **blind, **KERNELS}),
        "second order, crop 400": RealESRGANDataset({**common, **blind, **KERNELS}),
        "second-order pairs, crop 128": RealESRGANPairedDataset({**common, **pairs}),
    }
    if source in ("png", "jpeg"):
        datasets["GT only, crop 128 (makes LQ)"] = PairedImageDataset({**common, "use_rot": True})
    return datasets


def decode(path: str) -> np.ndarray | None:
    """Reads and decodes a file, and nothing else."""
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)


def measure(run: Callable[[], object]) -> float:
    start = time.thread_time()
    run()
    return time.thread_time() - start


def compare(dataset: ImageDataset, root: Path, rounds: int) -> dict[str, float]:
    """Milliseconds an image, and the ratio: the median over rounds of paired measurements."""
    folders = ["HR", "LR"] if len(dataset.paths[0]) > 1 else ["HR"]
    paths = [str(path) for folder in folders for path in sorted((root / folder).iterdir())]

    def load(epoch: int) -> None:
        for index in range(len(dataset)):
            dataset[SampleIndex(index, epoch, index)]

    def decode_all() -> None:
        for path in paths:
            decode(path)

    load(0)
    chain, bare = [], []
    for epoch in range(rounds):
        bare.append(measure(decode_all))
        chain.append(measure(lambda epoch=epoch: load(epoch)))
    count = len(dataset)
    return {
        "decode_ms": 1000 * statistics.median(bare) / count,
        "chain_ms": 1000 * statistics.median(chain) / count,
        "ratio": statistics.median(whole / part for whole, part in zip(chain, bare)),
    }


def measure_loader(dataset: ImageDataset, workers: int) -> float:
    """Images a second through a loader."""
    block = {"phase": "train", "batch_size_per_gpu": 8, "num_worker_per_gpu": workers, "dataset_enlarge_ratio": 40}
    loader = iter(build_dataloader(dataset, block))
    next(loader)
    count = 0
    start = time.perf_counter()
    for batch in loader:
        count += len(batch["gt"])
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", choices=["png", "jpeg", "meta_info", "lmdb"], default="png")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2, help="loading processes of the last table; 0: leave it out")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    args = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder), ".jpg" if args.source == "jpeg" else ".png")
        for name, dataset in build_datasets(Path(folder), args.source).items():
            keep_depth(dataset, True)
            results[name] = compare(dataset, Path(folder), args.rounds)
            if args.workers:
                results[name]["loader_images_per_s"] = measure_loader(dataset, args.workers)
    head = f"{'images/s':>10}" if args.workers else ""
    print(f"{'data set':30}{'decode ms':>12}{'chain ms':>12}{'ratio':>8}{head}")
    for name, row in results.items():
        speed = f"{row['loader_images_per_s']:10.0f}" if args.workers else ""
        print(f"{name:30}{row['decode_ms']:12.2f}{row['chain_ms']:12.2f}{row['ratio']:8.2f}{speed}")
    print(f"aim: ratio at most {FLOOR}, except where LQ is made")
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
