"""A whole validation: this package's, and one written plainly as BasicSR 1.4.2 does it.

Both pass the same images through the same network, round to 8 bit, write the pictures if asked, and measure PSNR and
SSIM of luma with 4 pixels cropped. The plain way does so image by image with OpenCV and NumPy, in float64; images come
from memory in both. The metrics are checked to be equal, and so are the pixels of the files. Pairs alternate in which
goes first.

    python benchmarks/bench_validation.py --threads 1                    # the smallest network: what is beside it shows
    python benchmarks/bench_validation.py --threads 1 --save-img
    python benchmarks/bench_validation.py --network quickstart           # the quickstart's generator
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from basicsr.models import build_model

QUICKSTART = Path(__file__).parents[1] / "options/train/quickstart.yml"
SCALE, BORDER = 4, 4
METRICS = {
    "psnr": {"type": "calculate_psnr", "crop_border": BORDER, "test_y_channel": True},
    "ssim": {"type": "calculate_ssim", "crop_border": BORDER, "test_y_channel": True},
}
SMALLEST = {
    "type": "SRVGGNetCompact",
    "num_in_ch": 3,
    "num_out_ch": 3,
    "num_feat": 8,
    "num_conv": 1,
    "upscale": SCALE,
    "act_type": "prelu",
}


class Pairs(Dataset[dict[str, Any]]):
    """Smooth random images with a little noise, and their means over 4x4 pixels."""

    def __init__(self, count: int, side: int) -> None:
        self.opt = {"name": "Pairs"}
        generator = torch.Generator().manual_seed(0)
        coarse = torch.rand(count, 3, side // 16, side // 16, generator=generator)
        smooth = nn.functional.interpolate(coarse, (side, side), mode="bicubic")
        noisy = smooth + 0.02 * torch.randn(smooth.shape, generator=generator)
        self.gt = (noisy.clamp(0, 1) * 255).round() / 255
        self.lq = nn.functional.avg_pool2d(self.gt, SCALE)

    def __len__(self) -> int:
        return len(self.gt)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"lq": self.lq[index], "gt": self.gt[index], "lq_path": f"{index:03d}.png"}


def plain_picture(image: Tensor) -> np.ndarray:
    """(H, W, 3) BGR, 8 bit."""
    values = image.detach().squeeze(0).float().cpu().clamp(0, 1).numpy().transpose(1, 2, 0)
    return (cv2.cvtColor(values, cv2.COLOR_RGB2BGR) * 255).round().astype(np.uint8)


def plain_luma(image: np.ndarray) -> np.ndarray:
    """BT.601 luma in [16, 235] of an image (H, W, 3), BGR, 8 bit, without its border: float64."""
    inside = image[BORDER:-BORDER, BORDER:-BORDER].astype(np.float32) / 255
    return (np.dot(inside, [24.966, 128.553, 65.481]) + 16).astype(np.float32).astype(np.float64)


def plain_psnr(sr: np.ndarray, gt: np.ndarray) -> float:
    error = np.mean((plain_luma(sr) - plain_luma(gt)) ** 2)
    return float(10 * np.log10(255**2 / error))


def plain_ssim(sr: np.ndarray, gt: np.ndarray) -> float:
    x, y = plain_luma(sr), plain_luma(gt)
    taps = cv2.getGaussianKernel(11, 1.5)
    window = np.outer(taps, taps)
    mean_x, mean_y, xx, yy, xy = (cv2.filter2D(image, -1, window)[5:-5, 5:-5] for image in (x, y, x * x, y * y, x * y))
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * (xy - mean_x * mean_y) + c2)
    bottom = (mean_x**2 + mean_y**2 + c1) * (xx - mean_x**2 + yy - mean_y**2 + c2)
    return float((top / bottom).mean())


def validate_plainly(net: nn.Module, loader: DataLoader[Any], device: Any, folder: Path | None) -> dict[str, float]:
    """Means of the metrics; image by image, each finished before the next begins."""
    sums = {"psnr": 0.0, "ssim": 0.0}
    net.eval()
    for batch in loader:
        with torch.no_grad():
            output = net(batch["lq"].to(device))
        sr, gt = plain_picture(output), plain_picture(batch["gt"].to(device))
        if folder is not None:
            path = folder / Path(batch["lq_path"][0]).stem / f"{Path(batch['lq_path'][0]).stem}_plain.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), sr)
        sums["psnr"] += plain_psnr(sr, gt)
        sums["ssim"] += plain_ssim(sr, gt)
    net.train()
    return {name: total / len(loader) for name, total in sums.items()}


def options(args: argparse.Namespace, folder: Path) -> dict[str, Any]:
    network = SMALLEST
    if args.network == "quickstart":
        network = yaml.safe_load(QUICKSTART.read_text(encoding="utf-8").replace("!!float ", ""))["network_g"]
    return {
        "name": "bench",
        "model_type": "SRModel",
        "scale": SCALE,
        "num_gpu": 0 if args.device == "cpu" else 1,
        "is_train": True,
        "network_g": network,
        "path": {"experiments_root": str(folder), "visualization": str(folder / "visualization")},
        "train": {
            "optim_g": {"type": "Adam", "lr": 1e-4},
            "scheduler": {"type": "MultiStepLR", "milestones": [1000]},
            "pixel_opt": {"type": "L1Loss"},
        },
        "val": {"metrics": METRICS, "pbar": False},
    }


def compare(args: argparse.Namespace, folder: Path) -> None:
    torch.manual_seed(0)
    model = build_model(options(args, folder))
    loader = DataLoader(Pairs(args.images, args.side), batch_size=1)
    plain_folder = folder / "visualization" if args.save_img else None

    def ours(iteration: int) -> dict[str, float]:
        return model.validation(loader, iteration, None, args.save_img)["Pairs"]

    def plain(iteration: int) -> dict[str, float]:
        return validate_plainly(model.net_g, loader, model.device, plain_folder)

    def timed(way: Callable[[int], dict[str, float]], iteration: int) -> tuple[float, float]:
        start = time.perf_counter(), time.process_time()
        result = way(iteration)
        if args.device == "cuda":
            torch.cuda.synchronize()
        elapsed, busy = time.perf_counter() - start[0], time.process_time() - start[1]
        for name, value in expected.items():
            if abs(result[name] - value) > 1e-5 * abs(value):
                raise SystemExit(f"{name}: {result[name]}, not {value}")
        return elapsed, busy

    expected = plain(0)
    timed(ours, 0)
    if args.save_img:
        for file in sorted((folder / "visualization").rglob("*_plain.png")):
            own = file.with_name(file.name.replace("_plain", "_0"))
            if not np.array_equal(cv2.imread(str(file)), cv2.imread(str(own))):
                raise SystemExit(f"{own.name} has other pixels")
    rows = []
    for number in range(args.rounds):
        ways = (ours, plain) if number % 2 == 0 else (plain, ours)
        found = {way: timed(way, number + 1) for way in ways}
        rows.append((found[ours], found[plain]))
    print(f"device {args.device}, {torch.get_num_threads()} threads, {args.images} images of {args.side}x{args.side}")
    print(f"network {args.network}, pictures {'written' if args.save_img else 'not written'}")
    for index, kind in enumerate(("elapsed", "CPU")):
        ratios = [mine[index] / theirs[index] for mine, theirs in rows]
        mine, theirs = (1e3 * statistics.median(row[side][index] for row in rows) for side in (0, 1))
        print(
            f"{kind}: this / plain: {statistics.median(ratios):.3f} ({min(ratios):.3f} to {max(ratios):.3f}; "
            f"{mine:.1f} and {theirs:.1f} ms)"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--side", type=int, default=512, help="side of GT images in pixels")
    parser.add_argument("--network", choices=("smallest", "quickstart"), default="smallest")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--save-img", action="store_true", help="write the pictures")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        compare(args, Path(folder))


if __name__ == "__main__":
    main()
