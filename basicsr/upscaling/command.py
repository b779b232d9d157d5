"""``basicsr upscale``: pictures to larger pictures, by one command. Its flags are built without PyTorch."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from basicsr.analysis.arguments import positive_int, report_bad_files
from basicsr.utils.errors import UserError, count

if TYPE_CHECKING:
    from basicsr.upscaling.inputs import Job
    from basicsr.upscaling.pipeline import Pipeline
    from basicsr.upscaling.processes import Team

DEFAULT_OUTPUT = "upscaled"

EXAMPLES = """examples:
  basicsr upscale photo.jpg
  basicsr upscale holidays/ -m RealESRGAN_x4plus -o large/ --skip-existing
  basicsr upscale 'scans/**/*.tif' -m experiments/NAME --scale 2 --ext png
  basicsr upscale clip.mp4 -o large.mp4 --crf 16
  cat photo.jpg | basicsr upscale - -o - > large.jpg
exit status 3: done, but some files could not be used; they are listed"""


def add_upscale_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_upscale`."""
    parser.epilog = EXAMPLES
    parser.add_argument(
        "inputs",
        nargs="+",
        metavar="INPUT",
        help="files, folders (with all that is in them), patterns; - is standard input",
    )
    text = "a weights file, a run (folder or name), or the name of built-in or published weights; several are averaged"
    parser.add_argument(
        "-m", "--model", action="append", metavar="MODEL", help=f"{text}; default: the built-in network"
    )
    text = "folder, or file for one picture, or - for standard output"
    parser.add_argument(
        "-o", "--output", metavar="OUT", help=f"{text}; default: {DEFAULT_OUTPUT}, of - standard output"
    )
    group = parser.add_argument_group("result")
    text = "output pixels per input pixel, any number; default: the model's"
    group.add_argument("--scale", type=_scale, metavar="S", help=text)
    group.add_argument("--suffix", metavar="TEXT", help="ending of the results' names, such as _x4")
    text = (
        "format of the pictures (png, jpg, webp, tif, bmp, ppm) or videos (mp4, mov, mkv, webm); default: the input's"
    )
    group.add_argument("--ext", type=_extension, metavar="EXT", help=text)
    group.add_argument("--quality", type=_quality, default=95, metavar="Q", help="of JPEG and WebP, 1 to 100")
    group.add_argument("--skip-existing", action="store_true", help="leave out inputs whose result is there")
    alpha = group.add_mutually_exclusive_group()
    alpha.add_argument("--sharpen-alpha", action="store_true", help="enlarge transparency by the network, too")
    alpha.add_argument(
        "--keep-alpha", dest="sharpen_alpha", action="store_false", default=False, help="interpolate it (default)"
    )
    group = parser.add_argument_group("videos")
    text = "encoder, by FFmpeg's name, such as libx265 or h264_nvenc; default: libx264, of WebM libvpx-vp9"
    group.add_argument("--codec", metavar="NAME", help=text)
    text = "constant quality, the less the better; default: one that looks like the network's picture (libx264: 18)"
    group.add_argument("--crf", type=_crf, metavar="Q", help=text)
    text = "pixel format; default: yuv420p, of more than 8 bits yuv420p10le"
    group.add_argument("--pix-fmt", metavar="FORMAT", help=text)
    group = parser.add_argument_group("model")
    group.add_argument("--average", choices=("outputs", "weights"), default="outputs", help="what of several models")
    group.add_argument("--tta", action="store_true", help="average over eight flips and turns, in eight times the time")
    group = parser.add_argument_group("running")
    text = "side of tiles in input pixels: auto chooses by the memory that is free, 0 passes whole pictures"
    group.add_argument("--tile", type=_tile, default="auto", metavar="auto|N", help=text)
    group.add_argument(
        "--precision", choices=("fp32", "bf16", "fp16"), default="fp32", help="of the network's arithmetic"
    )
    group.add_argument("--device", default="auto", help="cpu, cuda, cuda:1 …; auto takes a GPU if there is one")
    text = "share the work among this machine's GPUs, all or so many, by a process for each"
    group.add_argument("--gpus", type=_gpus, metavar="all|N", help=text)
    group.add_argument("--workers", type=positive_int, default=1, help=argparse.SUPPRESS)
    text = "pictures of one size, or frames, that pass the network at once"
    group.add_argument("--batch", type=positive_int, default=1, metavar="N", help=text)


def _scale(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 64:
        raise argparse.ArgumentTypeError(f"must be a number above 0, at most 64; got {text!r}")
    return value


def _extension(text: str) -> str:
    suffix = "." + text.lower().removeprefix(".")
    pictures = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".ppm", ".pgm")
    known = (*pictures, ".mp4", ".m4v", ".mov", ".mkv", ".webm")
    if suffix not in known:
        raise argparse.ArgumentTypeError(f"must be one of {', '.join(one[1:] for one in known)}; got {text!r}")
    return suffix


def _quality(text: str) -> int:
    value = positive_int(text)
    if value > 100:
        raise argparse.ArgumentTypeError(f"must be from 1 to 100, got {value}")
    return value


def _crf(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 63:
        raise argparse.ArgumentTypeError(f"must be a number from 0 to 63, got {text!r}")
    return value


def _gpus(text: str) -> str:
    return text if text == "all" else str(positive_int(text))


def _tile(text: str) -> int | str:
    if text == "auto":
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be auto or a whole number, got {text!r}")
    return int(text)


def run_upscale(args: argparse.Namespace) -> int:
    """Enlarges the pictures and videos of a command line; returns the exit status."""
    from basicsr.upscaling.inputs import STANDARD, Naming, list_jobs
    from basicsr.utils.dist_util import shut_down_dist, works_here

    if not works_here():
        return 0
    shut_down_dist()  # the other processes leave: nothing may wait for them
    logger = logging.getLogger("basicsr")
    is_standard = STANDARD in args.inputs
    output = args.output or (STANDARD if is_standard else DEFAULT_OUTPUT)
    ending = args.suffix or ""
    if os.sep in ending:
        raise UserError(f"--suffix {ending}: expected an ending of names, without {os.sep}; folders go to -o")
    if output == STANDARD and sys.stdout.isatty():
        raise UserError("the picture would go to the terminal; name a file by -o, or send standard output to one")
    jobs, bad_files = list_jobs(args.inputs, Naming(output, ending, args.ext))
    if videos := {job.target.suffix.lower() for job in jobs if job.is_video and job.target}:
        from basicsr.upscaling.video_parts import Encoding, choose_encoder

        for suffix in videos:
            choose_encoder(Encoding(args.codec, args.crf, args.pix_fmt), suffix, is_deep=False)
    if jobs:
        workers = _make_workers(args, is_standard)
        outcome = workers.outcome
        try:
            workers.run(jobs)
        except KeyboardInterrupt:
            done = f"{_name(jobs, outcome.written)} of {len(jobs)} written"
            raise KeyboardInterrupt(f"Interrupted: {done}; --skip-existing goes on") from None
        skipped = f", {outcome.skipped} skipped that were there" if outcome.skipped else ""
        where = "to standard output" if output == STANDARD else f"to {output}"
        logger.info("%s written %s%s", _name(jobs, outcome.written), where, skipped)
        bad_files += outcome.bad_files
    return report_bad_files(bad_files)


def _make_workers(args: argparse.Namespace, is_standard: bool) -> Pipeline | Team:
    """What does the jobs of a command line: this process, or one for each GPU."""
    from basicsr.analysis.generators import find_weights_file
    from basicsr.upscaling.processes import Team, list_devices

    devices = ["cpu"] * args.workers if args.workers > 1 else []
    if args.gpus:
        if args.device != "auto":
            raise UserError(f"--gpus {args.gpus} names the devices; leave out --device {args.device}")
        devices = list_devices(args.gpus)
    if len(devices) < 2 or is_standard:
        return make_pipeline(args, devices[0] if devices else args.device)
    # Fetched and found once, before there are several who need it.
    for model in args.model or []:
        find_weights_file(model)
    return Team(partial(make_pipeline, args), devices, args.skip_existing)


def make_pipeline(args: argparse.Namespace, device: str) -> Pipeline:
    """What enlarges files as a command line says, on a device."""
    from basicsr.options.imports import import_parts
    from basicsr.upscaling.model import DEFAULT_MODEL, load_model
    from basicsr.upscaling.pipeline import Pipeline
    from basicsr.upscaling.video_parts import Encoding

    import_parts(args.imports)
    model = load_model(
        args.model or [DEFAULT_MODEL],
        scale=args.scale,
        tile=args.tile,
        device=device,
        precision=args.precision,
        average=args.average,
        tta=args.tta,
        sharpen_alpha=args.sharpen_alpha,
    )
    encoding = Encoding(args.codec, args.crf, args.pix_fmt)
    return Pipeline(model, args.quality, args.batch, args.skip_existing, encoding)


def _name(jobs: Sequence[Job], number: int) -> str:
    """So many pictures or videos or, of both, files."""
    kinds = {job.is_video for job in jobs}
    return count(number, "file" if len(kinds) > 1 else "video" if True in kinds else "picture")
