"""Memory that ``basicsr test`` takes for one large image in tiles, above what it takes for an image of one tile.

Each image is enlarged by a tiny network in a process of its own, whose peak of resident memory counts. What is added
beside the LQ image should be at most one and a half finished pictures of 8 bit: the picture and the bands in which
tiles are blended. The LQ image, too, keeps its 8 bit.

    python benchmarks/bench_tiles.py                                  # by 4, to 12,000x9,000 pixels
    python benchmarks/bench_tiles.py --scale 1 --height 3000 --width 4000
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
import yaml

from basicsr import test
from basicsr.archs import build_network
from basicsr.weights import save_network

NETWORK = {"type": "SRVGGNetCompact", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_conv": 2}


def make_photograph(height: int, width: int) -> np.ndarray:
    """Something that compresses as photographs do: smooth, with some noise."""
    generator = np.random.default_rng(0)
    coarse = generator.integers(0, 256, (height // 16 + 1, width // 16 + 1, 3), dtype=np.uint8)
    noise = generator.integers(0, 8, (height, width, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) // 2 + noise


def write_options(folder: Path, height: int, width: int, tile: int, scale: int) -> Path:
    """Writes weights, one LQ image and the option file of a test on it."""
    images = folder / f"{width}x{height}"
    images.mkdir()
    cv2.imwrite(str(images / "image.png"), make_photograph(height, width))
    options = {
        "name": images.name,
        "model_type": "SRModel",
        "scale": scale,
        "num_gpu": 0,
        "datasets": {"test_1": {"name": "large", "type": "SingleImageDataset", "dataroot_lq": str(images)}},
        "network_g": {**NETWORK, "upscale": scale},
        "path": {"pretrain_network_g": str(folder / "net_g.pth")},
        "val": {"save_img": True, "tile": tile, "pbar": False},
    }
    file = folder / f"{images.name}.yml"
    file.write_text(yaml.safe_dump(options))
    return file


def measure_peak(folder: Path, height: int, width: int, tile: int, scale: int) -> float:
    """The peak of resident memory of a test on one image, in MB."""
    file = write_options(folder, height, width, tile, scale)
    command = [sys.executable, __file__, "--run", str(file)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    picture = cv2.imread(str(next((folder / "results" / file.stem).rglob("*.png"))))
    assert picture.shape == (scale * height, scale * width, 3)
    return float(done.stdout.split()[-1])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--height", type=int, default=9000, help="rows of the finished picture")
    parser.add_argument("--width", type=int, default=12000, help="columns of the finished picture")
    parser.add_argument("--scale", type=int, default=4)
    parser.add_argument("--tile", type=int, default=256)
    parser.add_argument("--run", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.run:
        code = test.main(["-opt", str(args.run)], args.run.parent)
        print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6)
        sys.exit(code)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        save_network({"params": build_network({**NETWORK, "upscale": args.scale})}, folder / "net_g.pth")
        one = measure_peak(folder, args.tile, args.tile, args.tile, args.scale)
        large = measure_peak(folder, args.height // args.scale, args.width // args.scale, args.tile, args.scale)
    picture = args.height * args.width * 3 / 1e6
    print(f"one tile {one:.0f} MB, the whole {large:.0f} MB; a picture has {picture:.0f} MB")
    print(f"added: {(large - one) / picture:.2f} pictures, of which the LQ image is {1 / args.scale**2:.2f}")


if __name__ == "__main__":
    main()
