"""``basicsr data …``: the commands that make data sets. Their flags are built without PyTorch or OpenCV."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from basicsr.utils.arguments import available_cores
from basicsr.utils.errors import DataError, UserError, count

if TYPE_CHECKING:
    from basicsr.preparation.generation_recipes import GenerationRecipe

DATA_SETS = ("DIV2K", "DIV2K_X2", "DIV2K_X3", "Flickr2K", "OST", "Set5", "Set14", "BSD100", "Urban100")
"""What :func:`basicsr.preparation.download_dataset` knows."""


def _add_threads(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument(
        "--n_thread", type=int, metavar="N", help=f"images {what} at the same time; default: one a core"
    )


def add_extract_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_extract`."""
    parser.description = """Cut large images into overlapping sub-images, which load several times faster in training.
--div2k cuts DIV2K_train_HR into 480 pixels every 240, and DIV2K_train_LR_bicubic/X2, X3, X4 (those that are there)
into the same divided by the scale. Run it again to go on where it stopped."""
    parser.add_argument("--input", type=Path, metavar="DIR", help="folder of whole images")
    parser.add_argument("--output", type=Path, metavar="DIR", help="folder for sub-images")
    parser.add_argument("--div2k", type=Path, metavar="ROOT", help="DIV2K's folder, instead of --input and --output")
    parser.add_argument("--crop_size", type=int, default=480, metavar="S", help="side of a sub-image")
    parser.add_argument("--step", type=int, default=240, metavar="S", help="pixels between neighbours")
    parser.add_argument("--thresh_size", type=int, default=0, metavar="S", help="remainders of this size are dropped")
    _add_threads(parser, "cut")
    parser.add_argument("--compression_level", type=int, default=3, metavar="N", help="of PNG, 0 to 9")


def run_extract(args: argparse.Namespace) -> int:
    """Cuts sub-images; returns the exit status."""
    from basicsr.preparation import extract_subimages, plan_div2k
    from basicsr.preparation.running import run_command

    if (args.div2k is None) == (args.input is None) or (args.input is None) != (args.output is None):
        raise UserError("give --input and --output, or --div2k")
    plans = [(args.input, args.output, args.crop_size, args.step)]
    if args.div2k is not None:
        hr, *lr = plan_div2k(args.div2k)
        plans = [hr, *(plan for plan in lr if plan[0].is_dir())]

    def cut() -> None:
        for plan in plans:
            extract_subimages(*plan, args.thresh_size, args.n_thread, args.compression_level)

    return run_command(cut)


def add_meta_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_meta`."""
    parser.description = """Write the text file that lists the images of a data set: one GT path a line (what
GatedDegradationDataset and RealESRGANDataset read as meta_info), or with --lq `gt_path, lq_path` (what
PairedImageDataset reads as meta_info_file). Paths are relative to the roots, which are the dataroot_gt and dataroot_lq
of the option file."""
    add = parser.add_argument
    add("--input", nargs="+", required=True, metavar="DIR", help="folders of images; sub-folders are listed too")
    add("--lq", metavar="DIR", help="LQ folder that belongs to the one --input: write pairs")
    add("--root", nargs="+", metavar="DIR", help="one for each folder, or one for all; default: their parents")
    add("--meta_info", required=True, metavar="FILE", help="file to write")
    add("--filename_tmpl", default="{}", metavar="TEXT", help="LQ name from GT name, such as {}x4")
    add("--with_size", action="store_true", help="write path (h,w,c)")
    add("--check", action="store_true", help="decode every image; leave out those that are unreadable")
    _add_threads(parser, "decoded")


def run_meta(args: argparse.Namespace) -> int:
    """Writes meta-info; returns the exit status."""
    from basicsr.preparation import generate_meta_info, generate_paired_meta_info
    from basicsr.preparation.running import run_command

    if args.lq is not None and len(args.input) != 1:
        raise UserError("--lq needs exactly one --input")
    roots = args.root
    if roots is not None and len(roots) == 1:
        roots = roots * (len(args.input) + (args.lq is not None))

    def write() -> None:
        if args.lq is None:
            generate_meta_info(args.input, args.meta_info, roots, args.with_size, args.check, args.n_thread)
        else:
            generate_paired_meta_info(args.input[0], args.lq, args.meta_info, roots and roots[:2], args.filename_tmpl)

    return run_command(write)


def add_lmdb_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_lmdb`."""
    parser.description = """Pack a folder of images into an LMDB database, for file systems that are slow with many
small files. Pack GT and LQ folders separately, with equal image names, and set `io_backend: {type: lmdb}` and the
databases as dataroot_gt and dataroot_lq."""
    parser.add_argument("--input", required=True, metavar="DIR", help="folder of images; sub-folders are packed too")
    parser.add_argument("--output", required=True, metavar="NAME.lmdb", help="database to make")
    parser.add_argument("--compress_level", type=int, default=1, metavar="N", help="of PNG, 0 to 9")
    _add_threads(parser, "encoded")


def run_lmdb(args: argparse.Namespace) -> int:
    """Packs a database; returns the exit status."""
    from basicsr.preparation import create_lmdb
    from basicsr.preparation.running import run_command

    def pack() -> None:
        create_lmdb(args.input, args.output, args.n_thread, args.compress_level)

    return run_command(pack)


def add_check_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_check`."""
    add = parser.add_argument
    add("--gt", required=True, metavar="DIR", help="folder of GT images, or any folder of images")
    add("--lq", metavar="DIR", help="folder of LQ images: names, counts and sizes of the pairs are compared, too")
    add("--scale", type=int, metavar="X", help="GT pixels per LQ pixel")
    add("--filename_tmpl", default="{}", metavar="TEXT", help="LQ name from GT name, such as {}x4")
    add("--min_size", type=int, default=1, metavar="S", help="smallest side of GT images, such as gt_size")
    add("--recursive", action="store_true", help="look into sub-folders too (without --lq)")
    _add_threads(parser, "decoded")
    add("--report", metavar="FILE", help="write everything to this JSON file")


def run_check(args: argparse.Namespace) -> int:
    """Checks a folder and says what it found; returns the exit status, 3 if there are problems."""
    from basicsr.preparation import check_dataset
    from basicsr.preparation.running import run_command
    from basicsr.utils.atomic import atomic_write_json

    def check() -> int:
        report = check_dataset(
            args.gt, args.lq, args.scale, args.filename_tmpl, args.min_size, args.recursive, args.n_thread
        )
        if args.report:
            atomic_write_json(asdict(report), args.report)
        lines = [f"{report.images} images: {report.gray} gray, {report.alpha} with alpha, {report.deep} of 16 bits"]
        if report.smallest and report.largest:
            (low_h, low_w), (high_h, high_w) = report.smallest, report.largest
            lines.append(f"GT height {low_h} to {high_h}, width {low_w} to {high_w}")
        found = count(len(report.problems), "problem") if report.problems else "all is well"
        sys.stdout.write("\n".join([*lines, *report.problems, found]) + "\n")
        return DataError.exit_code if report.problems else 0

    return run_command(check)


def add_multiscale_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_multiscale`."""
    parser.description = """Write smaller copies of training images: 3/4, 1/2 and 1/3 of the size, and one whose shorter
side has 400 pixels. Run it again to go on where it stopped."""
    add = parser.add_argument
    add("--input", required=True, metavar="DIR", help="folder of images")
    add("--output", required=True, metavar="DIR", help="folder for copies")
    add("--scales", type=float, nargs="+", default=[0.75, 0.5, 1 / 3], metavar="X", help="factors below 1")
    add("--shortest_edge", type=int, default=400, metavar="S", help="of the last copy")
    _add_threads(parser, "reduced")


def run_multiscale(args: argparse.Namespace) -> int:
    """Writes reduced copies; returns the exit status."""
    from basicsr.preparation import generate_multiscale
    from basicsr.preparation.running import run_command

    def copy() -> None:
        generate_multiscale(args.input, args.output, args.scales, args.shortest_edge, args.n_thread)

    return run_command(copy)


def add_download_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_download`."""
    parser.description = """Fetch and unpack public data sets. Files with a published checksum are compared with it; for
one that cannot be fetched, the message says where to put it by hand. Run it again to go on where it stopped."""
    names = f"any of: {', '.join(DATA_SETS)}"
    parser.add_argument("names", nargs="+", metavar="NAME", help=names)
    parser.add_argument("--root", default="datasets", metavar="DIR", help="where data sets go")
    parser.add_argument("--base_url", metavar="URL", help="a mirror that holds all archives in one folder")
    keep_help = "do not delete archives once they are unpacked"
    parser.add_argument("--keep_archives", action="store_true", help=keep_help)


def run_download(args: argparse.Namespace) -> int:
    """Fetches data sets; returns the exit status."""
    from basicsr.preparation import download_dataset
    from basicsr.preparation.running import run_command

    def fetch() -> None:
        for name in args.names:
            download_dataset(name, args.root, args.base_url, args.keep_archives)

    return run_command(fetch)


def add_photographs_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_photographs`."""
    parser.description = """Make the quickstart's data set from the photographs that scikit-image ships; no network is
needed. An option file does the same on first use with `prepare: photographs` in a PairedImageDataset block. Run it
again to fix what is missing or damaged."""
    add = parser.add_argument
    add("--root", default="datasets/photographs", metavar="DIR", help="folder to make")
    add("--scale", type=int, default=4, metavar="X", help="divides 12")
    add("--sub_image_size", type=int, default=192, metavar="S", help="HR pixels; 0: whole photographs")
    add("--sub_image_step", type=int, default=96, metavar="S", help="pixels between neighbours")


def run_photographs(args: argparse.Namespace) -> int:
    """Makes the photographs' data set; returns the exit status."""
    from basicsr.preparation.photographs import prepare_photographs
    from basicsr.preparation.running import run_command

    def prepare() -> None:
        prepare_photographs(args.root, args.scale, args.sub_image_size or None, args.sub_image_step)

    return run_command(prepare)


def add_hard_gated_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_hard_gated`."""
    _add_generation_arguments(parser, default_scale=4)


def add_second_order_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_second_order`."""
    _add_generation_arguments(parser, default_scale=8)


def _add_generation_arguments(parser: argparse.ArgumentParser, default_scale: int) -> None:
    parser.description = f"""{parser.description} Run it again to go on where it stopped. On several machines give each
its part with --shard, or start it under torchrun. --reproduce makes single images again, elsewhere, from the manifest
that lies beside the LR folder."""
    add = parser.add_argument
    add("--input", required=True, metavar="DIR", help="folder of photographs")
    add("--hr_folder", required=True, metavar="DIR", help="where the high-resolution images go")
    add("--lr_folder", required=True, metavar="DIR", help="where the low-resolution images and the manifest go")
    add("--scale", type=int, default=argparse.SUPPRESS, metavar="X", help=f"reduction; default: {default_scale}")
    add("--seed", type=int, default=argparse.SUPPRESS, metavar="N", help="part of every image's key; default: 233")
    add("--only", nargs="+", metavar="NAME", help="do these images alone, named as under --input")
    reproduce = "make images again with the parameters in this <lr_folder>_manifest.json, from the same --input"
    add("--reproduce", metavar="MANIFEST", help=reproduce)
    add("--num_workers", type=int, default=available_cores(), metavar="N", help="processes; 0: this one")
    # Under torchrun every process does its part.
    part = int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
    shard = "do every COUNT-th image from INDEX on, such as $SLURM_ARRAY_TASK_ID/8; default: torchrun's rank, or all"
    parser.add_argument("--shard", type=_parse_shard, metavar="INDEX/COUNT", help=shard)
    parser.set_defaults(default_shard=part, default_scale=default_scale)


def _parse_shard(text: str) -> tuple[int, int]:
    try:
        index, parts = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected INDEX/COUNT, such as 0/4, got {text!r}") from None
    if not 0 <= index < parts:
        raise argparse.ArgumentTypeError(f"expected 0 <= INDEX < COUNT, got {text!r}")
    return index, parts


def run_hard_gated(args: argparse.Namespace) -> int:
    """Synthesises a hard-gated test set; returns the exit status."""
    from basicsr.preparation.generation_recipes import hard_gated_recipe

    return _run_generation(args, hard_gated_recipe)


def run_second_order(args: argparse.Namespace) -> int:
    """Synthesises a second-order test set; returns the exit status."""
    from basicsr.preparation.generation_recipes import second_order_recipe

    return _run_generation(args, second_order_recipe)


def _run_generation(args: argparse.Namespace, make_recipe: Callable[..., GenerationRecipe]) -> int:
    """Generates as the flags say; 3 if some images could not be done, which are then listed.

    Raises:
        UserError: If flags contradict each other.
        DataError, KeyboardInterrupt: As :func:`basicsr.preparation.running.run_command`.
        OptionsError: If the scale is out of range.
    """
    from basicsr.preparation.generation import generate_dataset
    from basicsr.preparation.running import run_command

    given = {key: value for key, value in vars(args).items() if key in ("scale", "seed")}
    if args.reproduce is not None and given:
        raise UserError("--reproduce takes scale and seed from the manifest; leave out --scale and --seed")

    def generate() -> int:
        recipe = make_recipe(**{"scale": args.default_scale, **given}) if args.reproduce is None else args.reproduce
        folders, shard = (args.input, args.hr_folder, args.lr_folder), args.shard or args.default_shard
        failures = generate_dataset(recipe, *folders, num_workers=args.num_workers, shard=shard, only=args.only)
        if failures:
            sys.stderr.write(f"{count(len(failures), 'image')} could not be done:\n" + "\n".join(failures) + "\n")
        return DataError.exit_code if failures else 0

    return run_command(generate)
