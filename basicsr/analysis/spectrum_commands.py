"""The commands of spectral analysis that need no discriminator: band errors, statistics, profile plots.

Their flags are built without PyTorch and matplotlib; what does the work is imported when a command runs.
"""

from __future__ import annotations

import argparse
import logging
import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

from basicsr.analysis.arguments import (
    add_format_argument,
    add_runtime_arguments,
    crop_side,
    list_given,
    name_data_set,
    positive_int,
    print_files,
    print_result,
    read_runtime,
    refuse_equal_labels,
    refuse_without,
    report_bad_files,
    split_label,
)
from basicsr.spectral import BORDERS, MASK_CONVENTIONS
from basicsr.utils.arguments import file_name
from basicsr.utils.errors import UserError, check_file_name

if TYPE_CHECKING:
    import torch

    from basicsr.analysis.band_analysis import PairedSource
    from basicsr.analysis.generators import Model

MODEL_HELP = "[LABEL=]MODEL: weights (or the name of published ones), a folder of results, bicubic or lanczos"
_DATASET_OPT = "options/DIV2K_valid.yml"
_MODEL_PATH = "experiments/pretrained_models/net_g_esrgan_x4_dual_former.pth"


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Adds ``--model``, ``--opt`` and ``--param_key``: how a weights file is read."""
    parser.add_argument("--model", metavar="FAMILY", help="refuse weights that are not of this family (RRDB, SwinIR)")
    parser.add_argument("--opt", metavar="FILE", help="option file whose network_g is the architecture of the weights")
    parser.add_argument("--param_key", choices=("params", "params_ema"), help="weights to take; default: averaged ones")


def _load_model(spec: str, args: argparse.Namespace, scale: int, device: torch.device | str) -> Model:
    """The model that a command line names and :func:`add_model_arguments` describes."""
    from basicsr.analysis.experiments import read_option_file
    from basicsr.analysis.generators import load_generator

    options = None if args.opt is None else read_option_file(args.opt)
    return load_generator(spec, scale, options=options, family=args.model, param_key=args.param_key, device=device)


def add_border_arguments(parser: argparse._ActionsContainer) -> None:
    """Adds ``--r_1`` and ``--r_2``; see :func:`read_borders`."""
    parser.add_argument("--r_1", type=float, metavar="R", help=f"border of low and middle; default: {BORDERS[0]}")
    parser.add_argument("--r_2", type=float, metavar="R", help=f"border of middle and high; default: {BORDERS[1]}")


def read_borders(args: argparse.Namespace) -> tuple[float, float]:
    """``--r_1`` and ``--r_2``, or their defaults.

    Raises:
        UserError: If they do not increase between 0 and 1.
    """
    low, high = (given if given is not None else default for given, default in zip((args.r_1, args.r_2), BORDERS))
    if not 0 < low < high < 1:
        raise UserError(f"--r_1 and --r_2 must increase between 0 and 1; got {low:g} and {high:g}")
    return low, high


def add_bands_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_bands`."""
    data = parser.add_argument_group("images")
    where = data.add_mutually_exclusive_group()
    where.add_argument("--dataset_opt", metavar="FILE", default=_DATASET_OPT, help="option file with one dataset block")
    where.add_argument("--gt", metavar="DIR", help="folder of ground truth, instead of --dataset_opt")
    data.add_argument("--lq", metavar="DIR", help="folder of inputs for --gt; default: bicubic reduction by --scale")
    data.add_argument("--filename_tmpl", metavar="TEXT", help="name of an input in --lq for a ground truth, e.g. {}x4")
    data.add_argument("--scale", type=positive_int, help="factor of the models; default: that of the data set, else 4")
    models = parser.add_argument_group("models")
    several = f"{MODEL_HELP}; several are compared"
    models.add_argument("--model_path", nargs="+", metavar="MODEL", default=[_MODEL_PATH], help=several)
    add_model_arguments(models)
    bands = parser.add_argument_group("bands (fractions of the highest frequency)")
    add_border_arguments(bands)
    others = bands.add_mutually_exclusive_group()
    others.add_argument("--bands", type=float, nargs="+", metavar="EDGE", help="any edges instead, e.g. 0 0.25 0.5 1")
    others.add_argument("--num_bands", type=positive_int, metavar="N", help="N bands of equal width instead")
    geometry = "geometry of bands; published is that of Table 1"
    bands.add_argument("--mask", choices=MASK_CONVENTIONS, default="published", help=geometry)
    parser.add_argument("--output", metavar="BASE", help="files are BASE.csv …; default: results/bands/<data set>")
    add_runtime_arguments(parser)


def run_bands(args: argparse.Namespace) -> int:
    """Measures magnitude RMSE per band for one model or several; returns the exit status."""
    from basicsr.analysis.band_analysis import measure_band_errors
    from basicsr.analysis.experiments import prepare_output, read_option_file, writing
    from basicsr.analysis.plots import plot_band_errors
    from basicsr.data import build_dataset
    from basicsr.evaluation.figures import save_figure
    from basicsr.preparation.photographs import prepare_block
    from basicsr.spectral.bands import check_edges, even_edges
    from basicsr.utils.dist_util import is_master, master_first

    # Read the edges of the bands.
    instead = list_given(args, ("bands", "num_bands"))
    if instead and (given := list_given(args, ("r_1", "r_2"))):
        raise UserError(f"{', '.join(given)} and {instead[0]} both say what the bands are; leave one of them out")
    borders = read_borders(args)
    try:
        edges = even_edges(args.num_bands) if args.num_bands else check_edges(args.bands or (0, *borders, 1))
    except ValueError as error:
        raise UserError(f"--bands: {error}") from error

    # Describe the pairs of images as a block of a data set.
    refuse_without(args, "gt", "lq")
    refuse_without(args, "lq", "filename_tmpl")
    if args.gt is None:
        block = read_option_file(args.dataset_opt)
    else:
        block = {"name": name_data_set(args.gt), "type": "PairedImageDataset", "dataroot_gt": args.gt}
        block |= {"dataroot_lq": args.lq, "filename_tmpl": args.filename_tmpl or "{}", "io_backend": {"type": "disk"}}
    scale = int(block.get("scale", 4)) if args.scale is None else args.scale
    block = {"name": "images", **block, "scale": scale, "phase": "test"}

    # Measure the models.
    runtime = read_runtime(args)
    models = [_load_model(spec, args, scale, runtime.device) for spec in args.model_path]
    refuse_equal_labels([model.name for model in models], "models", "LABEL=MODEL")
    try:
        base = args.output or f"results/bands/{check_file_name(str(block['name']))}"
    except ValueError as error:
        raise UserError(
            f"{args.gt or args.dataset_opt}: name: {error}, or say with --output where results go"
        ) from None
    folders = {key: os.path.abspath(block[key]) for key in ("dataroot_gt", "dataroot_lq") if block.get(key)}
    source = {"images": folders, "models": {model.name: model.origin for model in models}}
    with master_first():
        prepare_block(block)
        pairs = cast("PairedSource", build_dataset(block))
    prepare_output(base, source)
    errors = measure_band_errors(pairs, models, edges, args.mask, runtime)
    if not is_master():
        return 0
    print_result(errors.format())
    with writing(base):
        figure = plot_band_errors(errors.models, errors.edges, errors.mean)
        print_files([*errors.write(base, source), *save_figure(figure, base, args.formats)])
    return report_bad_files(errors.bad_files)


def add_statistics_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_statistics`."""
    parser.add_argument("--input", required=True, metavar="DIR", help="folder of images (mode 0: the model's inputs)")
    name_help = "results go to experiments/N/"
    parser.add_argument("--experiment_name", required=True, type=file_name, metavar="N", help=name_help)
    parser.add_argument("--mode", type=int, choices=(0, 1), default=1, help="1: measure images; 0: a model's outputs")
    parser.add_argument("--model_path", metavar="MODEL", help=MODEL_HELP)
    add_model_arguments(parser)
    parser.add_argument("--patch_size", type=crop_side, default=256, metavar="S", help="side of the measured crops")
    parser.add_argument("--scale", type=positive_int, metavar="X", help="factor of the model (mode 0); default: 4")
    parser.add_argument("--repeat", type=positive_int, default=1, metavar="N", help="random crops per image")
    parser.add_argument("--label", help="name in legends; default: the experiment's")
    add_runtime_arguments(parser, batch_size=16, batch_help="crops per batch")


def run_statistics(args: argparse.Namespace) -> int:
    """Writes ``experiments/N/spectrum_stats.pth`` and its figure; returns the exit status."""
    from basicsr.analysis.experiments import prepare_output, writing
    from basicsr.analysis.generators import Generator
    from basicsr.analysis.images import list_images
    from basicsr.analysis.plots import plot_statistics
    from basicsr.analysis.statistics import estimate_statistics
    from basicsr.evaluation.figures import save_figure
    from basicsr.utils.dist_util import is_master

    runtime = read_runtime(args)
    paths = list_images(args.input)
    generator = None
    if args.mode == 0:
        if args.model_path is None:
            raise UserError("--mode 0 measures a model's outputs; name it with --model_path")
        model = _load_model(args.model_path, args, args.scale or 4, runtime.device)
        if isinstance(model, Generator):
            generator = model
        else:
            paths = [model.find(path.name) for path in paths]
    elif idle := list_given(args, ("model_path", "model", "opt", "param_key", "scale")):
        # Published command lines give these in either mode.
        notice = "%s: without effect, because --mode 1 measures the images themselves"
        logging.getLogger("basicsr").warning(notice, ", ".join(idle))
    base = Path("experiments") / args.experiment_name / "spectrum"
    prepare_output(base)
    crops = {name: getattr(args, name) for name in ("patch_size", "repeat", "seed")}
    label = args.label or args.experiment_name
    stats, bad_files = estimate_statistics(paths, label=label, generator=generator, runtime=runtime, **crops)
    if not is_master():
        return 0
    file = base.with_name("spectrum_stats.pth")
    with writing(base):
        stats.save(file)
        figures = save_figure(plot_statistics(stats), base, args.formats)
    print_result(f"{stats.count} crops of {args.patch_size} pixels")
    print_files([file, *figures])
    return report_bad_files(bad_files)


def add_plot_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_plot`."""
    parser.add_argument("--stats", nargs="+", required=True, metavar="[LABEL=]FILE", help="spectrum_stats.pth files")
    parser.add_argument("--mode", choices=("std", "mean"), default="std", help="which statistic to draw")
    name_help = "files are experiments/spectral_profile/NAME.*"
    parser.add_argument("--name", default="teaser", type=file_name, help=name_help)
    parser.add_argument("--reference", metavar="LABEL", help="denominator of ratios; default: GT, HR or the first")
    add_border_arguments(parser)
    add_format_argument(parser)


def run_plot(args: argparse.Namespace) -> int:
    """Overlays statistics files; returns the exit status."""
    from basicsr.analysis.experiments import writing
    from basicsr.analysis.plots import plot_profiles
    from basicsr.analysis.statistics import ProfileStatistics
    from basicsr.evaluation.figures import save_figure

    borders = read_borders(args)
    profiles = [ProfileStatistics.load(file, label) for label, file in map(split_label, args.stats)]
    base = Path("experiments/spectral_profile") / args.name
    figure = plot_profiles(profiles, args.mode, args.reference, borders)
    with writing(base):
        print_files(save_figure(figure, base, args.formats))
    return 0
