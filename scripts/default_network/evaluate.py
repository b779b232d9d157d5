"""Measures bicubic interpolation and networks on the held-out photographs; prints a Markdown table.

    python scripts/default_network/evaluate.py [WEIGHTS …] [--root datasets/default_network] [--save DIR]

Without WEIGHTS it measures the networks that the package ships. PSNR, SSIM and the spectral distance (dB) are of the
luma, 4 pixels cut off each side, after rounding to 8 bits. The last column is the largest difference, in levels of 255,
between the means of a channel of the output reduced x4 and of the input.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

from basicsr.analysis.generators import Generator, load_generator
from basicsr.data.transforms import reduce_bicubic
from basicsr.engine.exits import run_to_exit_code
from basicsr.metrics import calculate_psnr, calculate_spectral_distance, calculate_ssim
from basicsr.utils import tensor2img
from basicsr.utils.errors import UserError
from basicsr.utils.images import image_to_tensor, read_image, write_png
from basicsr.weights.builtin import BUILTIN, builtin_weights

SCALE = 4
METRICS = {"PSNR-Y": calculate_psnr, "SSIM-Y": calculate_ssim, "spectral distance": calculate_spectral_distance}


def enlarge(model: Generator, lq: np.ndarray) -> np.ndarray:
    """What a model makes of an image (H, W, 3) uint8 BGR, in the same form."""
    return tensor2img(model(image_to_tensor(lq)[None]))


def colour_difference(image: np.ndarray, lq: np.ndarray) -> float:
    """The largest difference of a channel's means between an output reduced ×4 and its input, in levels."""
    means = (np.mean(picture, axis=(0, 1), dtype=np.float64) for picture in (reduce_bicubic(image, SCALE), lq))
    return float(np.abs(np.subtract(*means)).max())


def measure(model: Generator, root: Path, save: Path | None) -> dict[str, list[float]]:
    """The figures of a model by held-out photograph."""
    figures = {}
    for file in sorted((root / "held_out" / "HR").glob("*.png")):
        gt, lq = read_image(file), read_image(root / "held_out" / "LR_bicubic" / "X4" / file.name)
        image = enlarge(model, lq)
        values = [metric(image, gt, crop_border=SCALE, test_y_channel=True) for metric in METRICS.values()]
        figures[file.stem] = [*map(float, values), colour_difference(image, lq)]
        if save is not None:
            write_png(image, save / model.name / file.name)
    return figures


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="*", help="[LABEL=]FILE")
    parser.add_argument("--root", type=Path, default=Path("datasets/default_network"), help="default: %(default)s")
    parser.add_argument("--save", type=Path, metavar="DIR", help="also write the pictures, to DIR/LABEL/")
    args = parser.parse_args()
    specs = args.weights or [f"{name}={builtin_weights(name)}" for name in BUILTIN]
    columns = [*METRICS, "colour"]
    print(f"| photograph | model | {' | '.join(columns)} |\n|---|---|{'---|' * len(columns)}")
    for spec in ("bicubic", *specs):
        model = load_generator(spec, SCALE)
        if not isinstance(model, Generator):
            raise UserError(f"{spec} is a folder; name weights files")
        figures = measure(model, args.root, args.save)
        figures["mean"] = list(np.mean(list(figures.values()), axis=0))
        for name, values in figures.items():
            cells = " | ".join(f"{value:.{digits}f}" for value, digits in zip(values, (2, 4, 2, 2)))
            print(f"| {name} | {model.name} | {cells} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(run_to_exit_code(main))
