"""Cuts large images into overlapping sub-images, which load several times faster in training.

    python scripts/data_preparation/extract_subimages.py --input DIR --output DIR --crop_size 480 --step 240
    python scripts/data_preparation/extract_subimages.py --div2k datasets/DIV2K

The second form cuts DIV2K_train_HR into 480 pixels every 240, and DIV2K_train_LR_bicubic/X2, X3, X4 (those that are
there) into the same divided by the scale. Run it again to go on where it stopped. Exit codes: 0 done, 1 wrong
arguments, 3 files that are missing or unusable (they are listed), 130 stopped.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from basicsr.engine.exits import run_to_exit_code


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, help="folder of whole images")
    parser.add_argument("--output", type=Path, help="folder for sub-images")
    parser.add_argument("--div2k", type=Path, metavar="ROOT", help="DIV2K's folder, instead of --input and --output")
    parser.add_argument("--crop_size", type=int, default=480, help="side of a sub-image (default: %(default)s)")
    parser.add_argument("--step", type=int, default=240, help="pixels between neighbours (default: %(default)s)")
    parser.add_argument("--thresh_size", type=int, default=0, help="remainders of this size are dropped (default: 0)")
    parser.add_argument("--n_thread", type=int, help="images cut at the same time (default: one a core)")
    parser.add_argument("--compression_level", type=int, default=3, help="PNG, 0 to 9 (default: %(default)s)")
    args = parser.parse_args()
    if (args.div2k is None) == (args.input is None) or (args.input is None) != (args.output is None):
        parser.error("give --input and --output, or --div2k")
    return args


def main() -> int:
    from basicsr.preparation import extract_subimages, plan_div2k
    from basicsr.preparation.running import run_command

    args = parse_arguments()
    plans = [(args.input, args.output, args.crop_size, args.step)]
    if args.div2k is not None:
        hr, *lr = plan_div2k(args.div2k)
        plans = [hr, *(plan for plan in lr if plan[0].is_dir())]

    def cut() -> None:
        for plan in plans:
            extract_subimages(*plan, args.thresh_size, args.n_thread, args.compression_level)

    return run_command(cut)


if __name__ == "__main__":
    sys.exit(run_to_exit_code(main))
