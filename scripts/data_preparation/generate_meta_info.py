"""Writes the text file that lists the images of a data set.

    python scripts/data_preparation/generate_meta_info.py --input DIR [DIR ...] --root ROOT [ROOT ...] --meta_info FILE
    python scripts/data_preparation/generate_meta_info.py --input GT --lq LQ --root GT_ROOT LQ_ROOT --meta_info FILE

The first form writes one GT path a line (what GatedDegradationDataset and RealESRGANDataset read as meta_info), the
second `gt_path, lq_path` (what PairedImageDataset reads as meta_info_file). Paths are relative to the roots, which are
the dataroot_gt and dataroot_lq of the option file. Exit codes: 0 done, 1 wrong arguments, 3 files that are missing or
unusable (they are listed), 130 stopped.
"""

from __future__ import annotations

import argparse
import sys

from basicsr.engine.exits import run_to_exit_code


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", nargs="+", required=True, help="folders of images; sub-folders are listed too")
    parser.add_argument("--lq", help="LQ folder that belongs to the one --input: write pairs")
    parser.add_argument("--root", nargs="+", help="one for each folder, or one for all (default: their parents)")
    parser.add_argument("--meta_info", required=True, help="file to write")
    parser.add_argument(
        "--filename_tmpl", default="{}", help="LQ name from GT name, such as {}x4 (default: %(default)s)"
    )
    parser.add_argument("--with_size", action="store_true", help="write path (h,w,c)")
    parser.add_argument("--check", action="store_true", help="decode every image; leave out those that are unreadable")
    parser.add_argument("--n_thread", type=int, help="images decoded at the same time (default: one a core)")
    args = parser.parse_args()
    folders = len(args.input) + (args.lq is not None)
    if args.lq is not None and len(args.input) != 1:
        parser.error("--lq needs exactly one --input")
    if args.root is not None and len(args.root) == 1:
        args.root *= folders
    return args


def main() -> int:
    from basicsr.preparation import generate_meta_info, generate_paired_meta_info
    from basicsr.preparation.running import run_command

    args = parse_arguments()

    def write() -> None:
        if args.lq is None:
            generate_meta_info(args.input, args.meta_info, args.root, args.with_size, args.check, args.n_thread)
        else:
            generate_paired_meta_info(
                args.input[0], args.lq, args.meta_info, args.root and args.root[:2], args.filename_tmpl
            )

    return run_command(write)


if __name__ == "__main__":
    sys.exit(run_to_exit_code(main))
