"""Makes the quickstart's data set from the photographs that scikit-image ships; no network is needed.

    python scripts/data_preparation/prepare_photographs.py [--root datasets/photographs] [--scale 4]

An option file does the same on first use with `prepare: photographs` in a PairedImageDataset block. Run it again to
fix what is missing or damaged. Exit codes: 0 done, 3 a photograph is missing or an option out of range, 130 stopped.
"""

from __future__ import annotations

import argparse
import sys

from basicsr.engine.exits import run_to_exit_code


def main() -> int:
    from basicsr.preparation.photographs import prepare_photographs
    from basicsr.preparation.running import run_command

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", default="datasets/photographs", help="folder to make (default: %(default)s)")
    parser.add_argument("--scale", type=int, default=4, help="divides 12 (default: %(default)s)")
    parser.add_argument("--sub_image_size", type=int, default=192, help="HR pixels; 0: whole (default: %(default)s)")
    parser.add_argument("--sub_image_step", type=int, default=96, help="between neighbours (default: %(default)s)")
    args = parser.parse_args()

    def prepare() -> None:
        prepare_photographs(args.root, args.scale, args.sub_image_size or None, args.sub_image_step)

    return run_command(prepare)


if __name__ == "__main__":
    sys.exit(run_to_exit_code(main))
