"""How much a sample costs beyond decoding its image: the whole chain against bare ``cv2.imdecode``, in one run.

Both read the same files, 480x480 sub-images (PNG) of photographs that scikit-image ships, alternately and on one
thread. "Chain" is everything a loading process does for a sample: decode, crop, flip, convert, kernel. Run::

    python benchmarks/bench_dataset.py [--rounds 15] [--json FILE]
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from skimage import data

from basicsr.data import (
    GatedDegradationDataset,
    PairedImageDataset,
    RealESRGANDataset,
    SampleIndex,
    build_dataloader,
)
from basicsr.data.image_dataset import ImageDataset
from basicsr.data.reduction import reduce_bicubic

FLOOR = 1.3
KERNELS = {
    "kernel_list": ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"],
    "kernel_prob": [0.45, 0.25, 0.12, 0.03, 0.12, 0.03],
    "sinc_prob": 0.1,
}


def write_images(root: Path) -> None:
    """Sub-images of 480x480 and their x4 reductions."""
    (root / "HR").mkdir()
    (root / "LR").mkdir()
    photographs = [data.astronaut(), data.stereo_motorcycle()[0], data.stereo_motorcycle()[1], data.hubble_deep_field()]
    for number, image in enumerate(photographs):
        for part, left in enumerate(range(0, image.shape[1] - 479, 240)):
            hr = np.ascontiguousarray(image[:480, left : left + 480, ::-1])
            cv2.imwrite(str(root / "HR" / f"{number}_{part}.png"), hr, [cv2.IMWRITE_PNG_COMPRESSION, 3])
            lr = reduce_bicubic(hr, 4)
            cv2.imwrite(str(root / "LR" / f"{number}_{part}.png"), lr, [cv2.IMWRITE_PNG_COMPRESSION, 3])


def build_datasets(root: Path) -> dict[str, ImageDataset]:
    common = {"dataroot_gt": str(root / "HR"), "phase": "train", "scale": 4, "gt_size": 128, "use_hflip": True}
    return {
        "paired, crop 128": PairedImageDataset({**common, "dataroot_lq": str(root / "LR"), "use_rot": True}),
        "GT only, crop 128": PairedImageDataset({**common, "use_rot": True}),
        "gated, crop 400": GatedDegradationDataset({**common, **KERNELS}),
        "second order, crop 400": RealESRGANDataset({**common, **KERNELS}),
    }


def decode(path: str) -> np.ndarray | None:
    """Reads and decodes a file, and nothing else."""
    return cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_COLOR)


def measure(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def compare(dataset: ImageDataset, rounds: int) -> dict[str, float]:
    """Milliseconds an image, and the ratio: the median over rounds of paired measurements."""
    paths = [path for entry in dataset.paths for path in entry.values()]

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
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--workers", type=int, default=2, help="loading processes of the last table; 0: leave it out")
    parser.add_argument("--json", type=Path, help="write the numbers here")
    args = parser.parse_args()
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
    results: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        write_images(Path(folder))
        for name, dataset in build_datasets(Path(folder)).items():
            results[name] = compare(dataset, args.rounds)
            if args.workers:
                results[name]["loader_images_per_s"] = measure_loader(dataset, args.workers)
    print(f"{'data set':24}{'decode ms':>12}{'chain ms':>12}{'ratio':>8}{'images/s':>10}")
    for name, row in results.items():
        speed = row.get("loader_images_per_s", float("nan"))
        print(f"{name:24}{row['decode_ms']:12.2f}{row['chain_ms']:12.2f}{row['ratio']:8.2f}{speed:10.0f}")
    print(f"aim: ratio at most {FLOOR} for the blind data sets and pairs")
    if args.json:
        args.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
