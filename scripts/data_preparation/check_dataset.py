"""Checks a finished folder: decodes every image; with --lq also compares names, counts and sizes of the pairs.

    python scripts/data_preparation/check_dataset.py --gt DIR [--lq DIR --scale 4 --filename_tmpl {}x4] [--report FILE]

Exit codes: 0 all is well, 3 there are problems (they are listed), 130 stopped.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from basicsr.engine.exits import run_to_exit_code


def main() -> int:
    from basicsr.preparation import check_dataset
    from basicsr.preparation.running import run_command
    from basicsr.utils.atomic import atomic_write_json
    from basicsr.utils.errors import DataError

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gt", required=True, help="folder of GT images, or any folder of images")
    parser.add_argument("--lq", help="folder of LQ images")
    parser.add_argument("--scale", type=int, help="GT pixels per LQ pixel")
    parser.add_argument("--filename_tmpl", default="{}", help="LQ name from GT name (default: %(default)s)")
    parser.add_argument("--min_size", type=int, default=1, help="smallest side of GT images, such as gt_size")
    parser.add_argument("--recursive", action="store_true", help="look into sub-folders too (without --lq)")
    parser.add_argument("--n_thread", type=int, help="images decoded at the same time (default: one a core)")
    parser.add_argument("--report", help="write everything to this JSON file")
    args = parser.parse_args()

    def check() -> int:
        report = check_dataset(
            args.gt, args.lq, args.scale, args.filename_tmpl, args.min_size, args.recursive, args.n_thread
        )
        if args.report:
            atomic_write_json(asdict(report), args.report)
        print(f"{report.images} images: {report.gray} gray, {report.alpha} with alpha, {report.deep} of 16 bits")
        if report.smallest and report.largest:
            (low_h, low_w), (high_h, high_w) = report.smallest, report.largest
            print(f"GT height {low_h} to {high_h}, width {low_w} to {high_w}")
        for problem in report.problems:
            print(problem)
        count = len(report.problems)
        print(f"{count} problem{'s' if count > 1 else ''}" if count else "all is well")
        return DataError.exit_code if report.problems else 0

    return run_command(check)


if __name__ == "__main__":
    sys.exit(run_to_exit_code(main))
