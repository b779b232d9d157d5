"""The commands of spectral analysis that need no discriminator: band errors, statistics, profile plots."""

from __future__ import annotations

import argparse
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch

from basicsr.analysis.arguments import (
    add_format_argument,
    add_runtime_arguments,
    crop_side,
    list_given,
    positive_int,
    read_optional_options,
    refuse_without,
    report_bad_files,
    resolve_device,
    say,
    say_files,
)
from basicsr.analysis.band_analysis import TABLE_EDGES, PairedSource, measure_band_errors
from basicsr.analysis.experiments import read_option_file
from basicsr.analysis.generators import Generator, ReadyResults, load_generator
from basicsr.analysis.images import list_images
from basicsr.analysis.labels import refuse_equal_labels, split_label
from basicsr.analysis.outputs import prepare_output, writing
from basicsr.analysis.plots import plot_band_errors, plot_profiles, plot_statistics, save_figure
from basicsr.analysis.statistics import ProfileStatistics, estimate_statistics
from basicsr.spectral.bands import MASK_CONVENTIONS, check_edges, even_edges
from basicsr.utils.errors import UserError

logger = logging.getLogger("basicsr")

MODEL_HELP = (
    "[LABEL=]MODEL; a weights file (ours, published or recognised by spandrel), a folder of ready results, "
    "bicubic or lanczos"
)


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Adds ``--model``, ``--opt`` and ``--param_key``: how a weights file is read."""
    parser.add_argument("--model", metavar="FAMILY", help="refuse weights that are not of this family (RRDB, SwinIR)")
    parser.add_argument("--opt", metavar="FILE", help="option file whose network_g is the architecture of the weights")
    parser.add_argument("--param_key", choices=("params", "params_ema"), help="weights to take; default: averaged ones")


def add_border_arguments(parser: argparse._ActionsContainer) -> None:
    """Adds ``--r_1`` and ``--r_2``; see :func:`read_borders`."""
    parser.add_argument("--r_1", type=float, metavar="R", help=f"border of low and middle; default: {TABLE_EDGES[1]}")
    parser.add_argument("--r_2", type=float, metavar="R", help=f"border of middle and high; default: {TABLE_EDGES[2]}")


def read_borders(args: argparse.Namespace) -> tuple[float, float]:
    """``--r_1`` and ``--r_2``, or their defaults.

    Raises:
        UserError: If they do not increase between 0 and 1.
    """
    low = TABLE_EDGES[1] if args.r_1 is None else args.r_1
    high = TABLE_EDGES[2] if args.r_2 is None else args.r_2
    if not 0 < low < high < 1:
        raise UserError(f"--r_1 and --r_2 must increase between 0 and 1; got {low:g} and {high:g}")
    return low, high


def add_bands_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_bands`."""
    data = parser.add_argument_group("images")
    where = data.add_mutually_exclusive_group()
    where.add_argument(
        "--dataset_opt", metavar="FILE", default="options/DIV2K_valid.yml", help="option file with one dataset block"
    )
    where.add_argument("--gt", metavar="DIR", help="folder of ground truth, instead of --dataset_opt")
    data.add_argument("--lq", metavar="DIR", help="folder of inputs for --gt; default: bicubic reduction by --scale")
    data.add_argument("--filename_tmpl", metavar="TEXT", help="name of an input in --lq for a ground truth, e.g. {}x4")
    data.add_argument("--scale", type=positive_int, help="factor of the models; default: that of the data set, else 4")
    models = parser.add_argument_group("models")
    models.add_argument(
        "--model_path",
        nargs="+",
        metavar="MODEL",
        default=["experiments/pretrained_models/net_g_esrgan_x4_dual_former.pth"],
        help=MODEL_HELP + "; several are compared",
    )
    add_model_arguments(models)
    bands = parser.add_argument_group("bands (fractions of the highest frequency)")
    add_border_arguments(bands)
    others = bands.add_mutually_exclusive_group()
    others.add_argument("--bands", type=float, nargs="+", metavar="EDGE", help="any edges instead, e.g. 0 0.25 0.5 1")
    others.add_argument("--num_bands", type=positive_int, metavar="N", help="N bands of equal width instead")
    bands.add_argument(
        "--mask", choices=MASK_CONVENTIONS, default="published", help="geometry of bands; published is that of Table 1"
    )
    parser.add_argument("--output", metavar="BASE", help="files are BASE.csv …; default: results/bands/<data set>")
    add_runtime_arguments(parser)


def run_bands(args: argparse.Namespace) -> int:
    """Measures magnitude RMSE per band for one model or several; returns the exit status."""
    edges = _read_edges(args)
    device = resolve_device(args.device)
    name, scale, block = _describe_pairs(args)
    options = read_optional_options(args.opt)
    models = [
        load_generator(spec, scale=scale, options=options, family=args.model, param_key=args.param_key, device=device)
        for spec in args.model_path
    ]
    refuse_equal_labels([model.name for model in models], "models", "LABEL=MODEL")
    base = args.output or f"results/bands/{name}"
    source = {
        "images": {key: os.path.abspath(block[key]) for key in ("dataroot_gt", "dataroot_lq") if block.get(key)},
        "models": {model.name: model.origin for model in models},
    }
    pairs = _open_pairs(block)
    prepare_output(base, source)
    errors = measure_band_errors(pairs, models, edges, mask=args.mask, num_workers=args.num_workers, device=device)
    say(errors.format())
    with writing(base):
        figure = plot_band_errors(errors.models, errors.edges, errors.mean)
        say_files([*errors.write(base, source), *save_figure(figure, base, args.formats)])
    return report_bad_files(errors.bad_files)


def _read_edges(args: argparse.Namespace) -> tuple[float, ...]:
    instead = list_given(args, ("bands", "num_bands"))
    if instead and (given := list_given(args, ("r_1", "r_2"))):
        raise UserError(f"{', '.join(given)} and {instead[0]} both say what the bands are; leave one of them out")
    if args.num_bands is not None:
        return even_edges(args.num_bands)
    if args.bands is None:
        return (0.0, *read_borders(args), 1.0)
    try:
        return check_edges(args.bands)
    except ValueError as error:
        raise UserError(f"--bands: {error}") from error


def _describe_pairs(args: argparse.Namespace) -> tuple[str, int, Mapping[str, Any]]:
    """Name, scale and block of the data set."""
    refuse_without(args, "gt", "lq")
    refuse_without(args, "lq", "filename_tmpl")
    if args.gt is not None:
        block: dict[str, Any] = {
            "name": Path(args.gt).resolve().name,
            "type": "PairedImageDataset",
            "dataroot_gt": args.gt,
            "dataroot_lq": args.lq,
            "filename_tmpl": args.filename_tmpl or "{}",
            "io_backend": {"type": "disk"},
        }
    else:
        block = read_option_file(args.dataset_opt)
    scale = int(block.get("scale", 4)) if args.scale is None else args.scale
    return str(block.get("name", "images")), scale, {**block, "scale": scale, "phase": "test"}


def _open_pairs(block: Mapping[str, Any]) -> PairedSource:
    # Imported here because other analyses need no data set classes.
    from basicsr.data import build_dataset
    from basicsr.preparation.photographs import prepare_block

    prepare_block(block)
    return cast(PairedSource, build_dataset(block))


def add_statistics_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_statistics`."""
    parser.add_argument("--input", required=True, metavar="DIR", help="folder of images (mode 0: the model's inputs)")
    parser.add_argument("--experiment_name", required=True, metavar="N", help="results go to experiments/N/")
    parser.add_argument(
        "--mode", type=int, choices=(0, 1), default=1, help="1: measure the images; 0: measure the model's outputs"
    )
    parser.add_argument("--model_path", metavar="MODEL", help=MODEL_HELP)
    add_model_arguments(parser)
    parser.add_argument(
        "--patch_size",
        type=crop_side,
        default=256,
        metavar="S",
        help="side of the crops that are measured, in pixels",
    )
    parser.add_argument("--scale", type=positive_int, metavar="X", help="factor of the model (mode 0); default: 4")
    parser.add_argument("--repeat", type=positive_int, default=1, metavar="N", help="random crops per image")
    parser.add_argument("--label", help="name in legends; default: the experiment's")
    add_runtime_arguments(parser, batch_size=16, batch_help="crops per batch", seed=23)


def run_statistics(args: argparse.Namespace) -> int:
    """Writes ``experiments/N/spectrum_stats.pth`` and its figure; returns the exit status."""
    device = resolve_device(args.device)
    paths = list_images(args.input)
    model = _load_measured_model(args, device)
    if isinstance(model, ReadyResults):
        paths = [model.find(path.name) for path in paths]
    upscale = model if isinstance(model, Generator) else None
    folder = Path("experiments") / args.experiment_name
    prepare_output(folder / "spectrum")
    result = estimate_statistics(
        paths,
        patch_size=args.patch_size,
        repeat=args.repeat,
        seed=args.seed,
        label=args.label or args.experiment_name,
        upscale=upscale,
        scale=1 if upscale is None else upscale.scale,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        device=device,
    )
    with writing(folder / "spectrum"):
        result.statistics.save(folder / "spectrum_stats.pth")
        figures = save_figure(plot_statistics(result.statistics), folder / "spectrum", args.formats)
    say(f"{result.statistics.count} crops of {args.patch_size} pixels")
    say_files([folder / "spectrum_stats.pth", *figures])
    return report_bad_files(result.bad_files)


def _load_measured_model(args: argparse.Namespace, device: torch.device) -> Generator | ReadyResults | None:
    """The model whose outputs are measured; None where the images themselves are."""
    if args.mode == 1:
        # Published command lines give these in either mode.
        if idle := list_given(args, ("model_path", "model", "opt", "param_key", "scale")):
            logger.warning("%s: without effect, because --mode 1 measures the images themselves", ", ".join(idle))
        return None
    if args.model_path is None:
        raise UserError("--mode 0 measures a model's outputs; name it with --model_path")
    return load_generator(
        args.model_path,
        scale=4 if args.scale is None else args.scale,
        options=read_optional_options(args.opt),
        family=args.model,
        param_key=args.param_key,
        device=device,
    )


def add_plot_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_plot`."""
    parser.add_argument(
        "--stats", nargs="+", required=True, metavar="[LABEL=]FILE", help="spectrum_stats.pth files to overlay"
    )
    parser.add_argument("--mode", choices=("std", "mean"), default="std", help="which statistic to draw")
    parser.add_argument("--name", default="teaser", help="files are experiments/spectral_profile/NAME.*")
    parser.add_argument("--reference", metavar="LABEL", help="denominator of ratios; default: GT, HR or the first")
    add_border_arguments(parser)
    add_format_argument(parser)


def run_plot(args: argparse.Namespace) -> int:
    """Overlays statistics files; returns the exit status."""
    borders = read_borders(args)
    labels_and_files = [split_label(item) for item in args.stats]
    profiles = [ProfileStatistics.load(file, label) for label, file in labels_and_files]
    base = Path("experiments/spectral_profile") / args.name
    figure = plot_profiles(profiles, args.mode, args.reference, borders)
    with writing(base):
        say_files(save_figure(figure, base, args.formats))
    return 0
