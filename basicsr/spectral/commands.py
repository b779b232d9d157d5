"""The commands of spectral analysis that need no discriminator: band errors, statistics, profile plots."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from basicsr.spectral.arguments import (
    add_runtime_arguments,
    read_optional_options,
    report_bad_files,
    resolve_device,
    say,
    say_files,
)
from basicsr.spectral.band_analysis import TABLE_EDGES, PairedSource, measure_band_errors
from basicsr.spectral.bands import MASK_CONVENTIONS, even_edges
from basicsr.spectral.experiments import read_option_file
from basicsr.spectral.generators import ReadyResults, load_generator
from basicsr.spectral.images import list_images
from basicsr.spectral.plots import plot_band_errors, plot_profiles, plot_statistics, save_figure
from basicsr.spectral.statistics import ProfileStatistics, estimate_statistics
from basicsr.utils.errors import UserError

MODEL_HELP = (
    "[LABEL=]MODEL; a weights file (ours, published or recognised by spandrel), a folder of ready results, "
    "bicubic or lanczos"
)


def add_model_arguments(parser: argparse._ActionsContainer) -> None:
    """Adds ``--model``, ``--opt`` and ``--param_key``: how a weights file is read."""
    parser.add_argument("--model", metavar="FAMILY", help="refuse weights that are not of this family (RRDB, SwinIR)")
    parser.add_argument("--opt", metavar="FILE", help="option file whose network_g is the architecture of the weights")
    parser.add_argument("--param_key", choices=("params", "params_ema"), help="weights to take; default: averaged ones")


def add_bands_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_bands`."""
    data = parser.add_argument_group("images")
    data.add_argument(
        "--dataset_opt", metavar="FILE", default="options/DIV2K_valid.yml", help="option file with one dataset block"
    )
    data.add_argument("--gt", metavar="DIR", help="folder of ground truth, instead of --dataset_opt")
    data.add_argument("--lq", metavar="DIR", help="folder of inputs for --gt; default: bicubic reduction by --scale")
    data.add_argument("--filename_tmpl", default="{}", help="name of an input in --lq for a ground truth, e.g. {}x4")
    data.add_argument("--scale", type=int, help="factor of the models; default: that of the data set, else 4")
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
    bands.add_argument("--r_1", type=float, default=TABLE_EDGES[1], help="border of low and middle")
    bands.add_argument("--r_2", type=float, default=TABLE_EDGES[2], help="border of middle and high")
    bands.add_argument("--bands", type=float, nargs="+", metavar="EDGE", help="any edges instead, e.g. 0 0.25 0.5 1")
    bands.add_argument("--num_bands", type=int, metavar="N", help="N bands of equal width instead")
    bands.add_argument(
        "--mask", choices=MASK_CONVENTIONS, default="published", help="geometry of bands; published is that of Table 1"
    )
    parser.add_argument("--output", metavar="BASE", help="files are BASE.csv …; default: results/bands/<data set>")
    add_runtime_arguments(parser)


def run_bands(args: argparse.Namespace) -> int:
    """Measures magnitude RMSE per band for one model or several; returns the exit status."""
    device = resolve_device(args.device)
    name, scale, source = _open_pairs(args)
    options = read_optional_options(args.opt)
    models = [
        load_generator(spec, scale=scale, options=options, family=args.model, param_key=args.param_key, device=device)
        for spec in args.model_path
    ]
    edges = args.bands or (even_edges(args.num_bands) if args.num_bands else (0.0, args.r_1, args.r_2, 1.0))
    try:
        errors = measure_band_errors(source, models, edges, mask=args.mask, num_workers=args.num_workers, device=device)
    except ValueError as error:
        raise error if isinstance(error, UserError) else UserError(str(error)) from error
    base = args.output or f"results/bands/{name}"
    figure = plot_band_errors(errors.models, errors.edges, errors.mean)
    say(errors.format())
    say_files([*errors.write(base), *save_figure(figure, base, args.formats)])
    return report_bad_files(errors.bad_files)


def _open_pairs(args: argparse.Namespace) -> tuple[str, int, PairedSource]:
    # Imported here because other analyses need no data set classes.
    from basicsr.data import build_dataset

    if args.gt:
        block: Mapping[str, Any] = {
            "name": Path(args.gt).resolve().name,
            "type": "PairedImageDataset",
            "dataroot_gt": args.gt,
            "dataroot_lq": args.lq,
            "filename_tmpl": args.filename_tmpl,
            "io_backend": {"type": "disk"},
        }
    else:
        block = read_option_file(args.dataset_opt)
    scale = args.scale or int(block.get("scale", 4))
    source = build_dataset({**block, "scale": scale, "phase": "test"})
    return str(block.get("name", "images")), scale, cast(PairedSource, source)


def add_statistics_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_statistics`."""
    parser.add_argument("--input", required=True, metavar="DIR", help="folder of images (mode 0: the model's inputs)")
    parser.add_argument("--experiment_name", required=True, metavar="N", help="results go to experiments/N/")
    parser.add_argument(
        "--mode", type=int, choices=(0, 1), default=1, help="1: measure the images; 0: measure the model's outputs"
    )
    parser.add_argument("--model_path", metavar="MODEL", help=MODEL_HELP)
    add_model_arguments(parser)
    parser.add_argument("--patch_size", type=int, default=256, help="side of the crops that are measured, in pixels")
    parser.add_argument("--scale", type=int, default=4, help="factor of the model (mode 0)")
    parser.add_argument("--repeat", type=int, default=1, help="random crops per image")
    parser.add_argument("--label", help="name in legends; default: the experiment's")
    add_runtime_arguments(parser, batch_size=16, batch_help="crops per batch", seed=23)


def run_statistics(args: argparse.Namespace) -> int:
    """Writes ``experiments/N/spectrum_stats.pth`` and its figure; returns the exit status."""
    device = resolve_device(args.device)
    paths = list_images(args.input)
    upscale, scale = None, 1
    if args.mode == 0:
        if not args.model_path:
            raise UserError("--mode 0 measures a model's outputs; name it with --model_path")
        model = load_generator(
            args.model_path,
            scale=args.scale,
            options=read_optional_options(args.opt),
            family=args.model,
            param_key=args.param_key,
            device=device,
        )
        if isinstance(model, ReadyResults):
            paths = [model.find(path.name) for path in paths]
        else:
            upscale, scale = model, model.scale
    result = estimate_statistics(
        paths,
        patch_size=args.patch_size,
        repeat=args.repeat,
        seed=args.seed,
        label=args.label or args.experiment_name,
        upscale=upscale,
        scale=scale,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        device=device,
    )
    folder = Path("experiments") / args.experiment_name
    result.statistics.save(folder / "spectrum_stats.pth")
    figures = save_figure(plot_statistics(result.statistics), folder / "spectrum", args.formats)
    say(f"{result.statistics.count} crops of {args.patch_size} pixels")
    say_files([folder / "spectrum_stats.pth", *figures])
    return report_bad_files(result.bad_files)


def add_plot_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_plot`."""
    parser.add_argument(
        "--stats", nargs="+", required=True, metavar="[LABEL=]FILE", help="spectrum_stats.pth files to overlay"
    )
    parser.add_argument("--mode", choices=("std", "mean"), default="std", help="which statistic to draw")
    parser.add_argument("--name", default="teaser", help="files are experiments/spectral_profile/NAME.*")
    parser.add_argument("--reference", metavar="LABEL", help="denominator of ratios; default: GT, HR or the first")
    parser.add_argument("--r_1", type=float, default=TABLE_EDGES[1], help="border of low and middle frequency")
    parser.add_argument("--r_2", type=float, default=TABLE_EDGES[2], help="border of middle and high frequency")
    parser.add_argument("--formats", nargs="+", choices=("png", "pdf", "svg"), default=["png", "pdf"])


def run_plot(args: argparse.Namespace) -> int:
    """Overlays statistics files; returns the exit status."""
    profiles = []
    for item in args.stats:
        label, _, file = item.rpartition("=")
        profiles.append(ProfileStatistics.load(file, label))
    figure = plot_profiles(profiles, args.mode, args.reference, (args.r_1, args.r_2))
    say_files(save_figure(figure, Path("experiments/spectral_profile") / args.name, args.formats))
    return 0
