"""Writes smaller copies of training images: 3/4, 1/2 and 1/3 of the size, and one whose shorter side has 400 pixels.

    python scripts/data_preparation/generate_multiscale_DF2K.py --input datasets/DF2K/DF2K_HR \
        --output datasets/DF2K/DF2K_multiscale

Run it again to go on where it stopped. Exit codes: 0 done, 1 wrong arguments, 3 files that are missing or unusable
(they are listed), 130 stopped.
"""

from __future__ import annotations

import argparse
import sys

from basicsr.engine.exits import run_to_exit_code


def main() -> int:
    from basicsr.preparation import generate_multiscale
    from basicsr.preparation.running import run_command

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="folder of images")
    parser.add_argument("--output", required=True, help="folder for copies")
    parser.add_argument("--scales", type=float, nargs="+", default=[0.75, 0.5, 1 / 3], help="factors below 1")
    parser.add_argument("--shortest_edge", type=int, default=400, help="of the last copy (default: %(default)s)")
    parser.add_argument("--n_thread", type=int, help="images at the same time (default: one a core)")
    args = parser.parse_args()

    def copy() -> None:
        generate_multiscale(args.input, args.output, args.scales, args.shortest_edge, args.n_thread)

    return run_command(copy)


if __name__ == "__main__":
    sys.exit(run_to_exit_code(main))
