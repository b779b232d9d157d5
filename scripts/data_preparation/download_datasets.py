"""Fetches and unpacks public data sets; run it again to go on where it stopped.

    python scripts/data_preparation/download_datasets.py DIV2K Flickr2K OST Set5 Set14 BSD100 Urban100 [--root datasets]

Files with a published checksum are compared with it. Exit codes: 0 done, 1 unknown name, 3 a file could not be fetched
or unpacked (the message says where to put it by hand), 130 stopped.
"""

from __future__ import annotations

import argparse
import sys

from basicsr.engine.exits import run_to_exit_code


def main() -> int:
    from basicsr.preparation import ARCHIVES, download_dataset
    from basicsr.preparation.running import run_command

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="+", metavar="NAME", help=f"any of: {', '.join(ARCHIVES)}")
    parser.add_argument("--root", default="datasets", help="where data sets go (default: %(default)s)")
    parser.add_argument("--base_url", help="a mirror that holds all archives in one folder")
    parser.add_argument("--keep_archives", action="store_true", help="do not delete archives once they are unpacked")
    args = parser.parse_args()

    def fetch() -> None:
        for name in args.names:
            download_dataset(name, args.root, args.base_url, args.keep_archives)

    return run_command(fetch)


if __name__ == "__main__":
    sys.exit(run_to_exit_code(main))
