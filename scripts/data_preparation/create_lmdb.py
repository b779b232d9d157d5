"""Packs a folder of images into an LMDB database, for file systems that are slow with many small files.

    python scripts/data_preparation/create_lmdb.py --input DIR --output NAME.lmdb

Pack GT and LQ folders separately, with equal image names, and set `io_backend: {type: lmdb}` and the databases as
dataroot_gt and dataroot_lq. Exit codes: 0 done, 1 wrong arguments, 3 files that are missing or unusable, 130 stopped.
"""

from __future__ import annotations

import argparse
import sys

from basicsr.engine.exits import run_to_exit_code


def main() -> int:
    from basicsr.preparation import create_lmdb
    from basicsr.preparation.running import run_command

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="folder of images; sub-folders are packed too")
    parser.add_argument("--output", required=True, help="database to make; its name ends in .lmdb")
    parser.add_argument("--compress_level", type=int, default=1, help="PNG, 0 to 9 (default: %(default)s)")
    parser.add_argument("--n_thread", type=int, help="images encoded at the same time (default: one a core)")
    args = parser.parse_args()

    def pack() -> None:
        create_lmdb(args.input, args.output, args.n_thread, args.compress_level)

    return run_command(pack)


if __name__ == "__main__":
    sys.exit(run_to_exit_code(main))
