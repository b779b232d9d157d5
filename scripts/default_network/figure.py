"""Draws the README's figure: held-out photographs enlarged by the shipped networks, and their radial profiles.

    python scripts/default_network/figure.py [--root datasets/default_network] [--output figures/default_networks]

Only scikit-image's photographs are shown; the packages' have licences of their own.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from evaluate import SCALE, enlarge

from basicsr.analysis.generators import Generator, load_generator
from basicsr.engine.exits import run_to_exit_code
from basicsr.evaluation.figures import FREQUENCY_LABEL, draw_legend, line_style, new_figure, save_figure
from basicsr.metrics import calculate_psnr, calculate_spectral_distance
from basicsr.spectral.profiles import radial_profile
from basicsr.spectral.transforms import rgb_to_luma
from basicsr.utils.images import image_to_tensor, read_image
from basicsr.weights.builtin import BUILTIN, builtin_weights

SIDE = 208
CROPS = {"astronaut": (10, 130), "coffee": (10, 160)}
"""Upper left corner, (row, column), of the square that is shown of each photograph."""
GROUND_TRUTH = "ground truth"


def profile(image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and levels of an image's luma in dB."""
    luma = rgb_to_luma(image_to_tensor(image).double()[None])
    frequency, level = radial_profile(luma, "hann")
    return frequency.numpy(), level.reshape(-1).numpy()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("datasets/default_network"), help="default: %(default)s")
    parser.add_argument("--output", default="figures/default_networks", help="without ending; default: %(default)s")
    args = parser.parse_args()
    specs = ["bicubic", *(f"{name}={builtin_weights(name)}" for name in BUILTIN)]
    models = [model for spec in specs if isinstance(model := load_generator(spec, SCALE), Generator)]
    columns = len(models) + 2
    size = (2.15 * columns + 0.5, 2.45 * len(CROPS))
    figure, grid = new_figure(len(CROPS), columns, size, width_ratios=[1] * (columns - 1) + [1.25])
    for row, (name, (top, left)) in zip(grid, CROPS.items(), strict=True):
        gt = read_image(args.root / "held_out/HR" / f"{name}.png")
        lq = read_image(args.root / "held_out/LR_bicubic/X4" / f"{name}.png")
        images = {model.name: enlarge(model, lq) for model in models} | {GROUND_TRUTH: gt}
        for axes, (label, image) in zip(row, images.items(), strict=False):
            axes.imshow(image[top : top + SIDE, left : left + SIDE, ::-1], interpolation="nearest")
            axes.set(xticks=[], yticks=[], title=label)
            axes.spines[:].set_visible(False)
            if label != GROUND_TRUTH:
                psnr = calculate_psnr(image, gt, crop_border=SCALE, test_y_channel=True)
                distance = calculate_spectral_distance(image, gt, crop_border=SCALE, test_y_channel=True)
                axes.set_xlabel(f"{psnr:.2f} dB PSNR-Y\n{distance:.1f} dB spectral distance", fontsize=8)
        order = [GROUND_TRUTH, *(model.name for model in models)]
        for index, label in enumerate(order):
            row[-1].plot(*profile(images[label]), label=label, **line_style(index))
        row[-1].set(xlim=(0, 1), xlabel=FREQUENCY_LABEL, ylabel="power (dB)")
        draw_legend(row[-1])
    for path in save_figure(figure, args.output, ("png",), dpi=110):
        print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    with torch.inference_mode():
        sys.exit(run_to_exit_code(main))
