"""The commands that score image quality without a reference."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from basicsr.iqa.critics import OPTION_BLOCKS, Critic, load_critic
from basicsr.iqa.guide import read_guide
from basicsr.iqa.presets import PRESETS, Preset, canonical_name, default_ensemble, find_preset
from basicsr.iqa.protocols import PROTOCOLS, CropPlan, Protocol
from basicsr.iqa.report import QualityReport, build_quality_report, draw_contact_sheet, plot_agreement
from basicsr.iqa.scorer import Judge, score_images
from basicsr.spectral.arguments import add_runtime_arguments, report_bad_files, resolve_device, say, say_files
from basicsr.spectral.experiments import find_option_file, read_option_file, resolve_experiment
from basicsr.spectral.images import list_images
from basicsr.spectral.plots import save_figure
from basicsr.utils.errors import UserError

CRITIC_NAMES = {"spatial": "net_d", "spectral": "net_spectral_d"}


def _add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how images are shown to the critics")
    group.add_argument("--preset", metavar="SET", help=f"the paper's set-up for a data set: {', '.join(PRESETS)}")
    group.add_argument("--img_size", type=int, nargs=2, metavar=("H", "W"), help="window; default: size of training")
    group.add_argument("--spatial_window_size", type=int, metavar="W", help="attention window of the spatial critic")
    group.add_argument("--spectral_window_size", type=int, metavar="W", help="attention window of the spectral critic")
    group.add_argument("--test_protocol_spatial", choices=PROTOCOLS, help="what the spatial critic sees")
    group.add_argument("--test_protocol_spectral", choices=PROTOCOLS, help="what the spectral critic sees")
    group.add_argument(
        "--n_ensemble", type=int, metavar="N", help="random windows per image; default 20 (KonIQ-10k: 40)"
    )
    group.add_argument("--stride", type=int, metavar="PIXELS", help="step of the patchify protocol; default 64")
    group.add_argument(
        "--fix_normalize",
        action="store_true",
        help="scale spectra patch by patch, whatever the option file says; otherwise a critic trained with batch-wide "
        "scaling sees every window scaled by itself",
    )
    critics = parser.add_argument_group("critics")
    critics.add_argument("--opt", metavar="FILE", help="option file; default: the one in the run's folder")
    critics.add_argument("--critics", nargs="+", choices=list(CRITIC_NAMES), help="default: all in the option file")
    critics.add_argument("--load_name", default="net_d", metavar="NAME", help="weights of the spatial critic")
    critics.add_argument(
        "--load_name2", default="net_spectral_d", metavar="NAME", help="weights of the spectral critic"
    )


def add_test_iqa_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_test_iqa`."""
    parser.add_argument("--experiment_name", required=True, metavar="N", help="run in experiments/, or a path to one")
    parser.add_argument("--test_set", required=True, metavar="DIR", help="folder of images")
    parser.add_argument("--test_set_guider", required=True, metavar="FILE", help="lines of image_name,MOS")
    parser.add_argument("--test_set_name", required=True, metavar="S", help="name of the set; names the result files")
    _add_scoring_arguments(parser)
    parser.add_argument(
        "--CLIVE_crop_spatial",
        action="store_true",
        help="on LIVE-itW, show the spatial critic random windows whatever --test_protocol_spatial says",
    )
    parser.add_argument("--output", metavar="DIR", help="default: results/N/iqa/S")
    add_runtime_arguments(parser, batch_size=5, batch_help="windows per forward pass", seed=23)


def add_score_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_score`."""
    parser.add_argument("folder", metavar="FOLDER", help="images to score")
    parser.add_argument("-m", "--experiment", required=True, metavar="experiments/N", help="run whose critics judge")
    parser.add_argument("--guide", metavar="FILE", help="opinions, lines of image_name,MOS; then agreement is reported")
    _add_scoring_arguments(parser)
    parser.add_argument("--top", type=int, default=8, metavar="N", help="images of each kind on the contact sheet")
    parser.add_argument("--output", metavar="DIR", help="default: results/N/score/FOLDER")
    add_runtime_arguments(parser, batch_size=16, batch_help="windows per forward pass", seed=23)


def run_test_iqa(args: argparse.Namespace) -> int:
    """Scores a set with opinions and reports agreement; returns the exit status."""
    guide = read_guide(args.test_set_guider)
    paths, missing = guide.find_images(args.test_set)
    judges, settings = _prepare(args, args.experiment_name, args.test_set_name, "default")
    scores = score_images(list(paths.values()), judges, names=list(paths), **_running(args))
    report = build_quality_report(
        args.test_set_name,
        scores,
        guide.scores,
        seed=args.seed,
        settings=settings,
        bad_files=(*guide.bad_lines, *missing),
    )
    experiment = resolve_experiment(args.experiment_name).name
    folder = Path(args.output or f"results/{experiment}/iqa/{args.test_set_name}")
    return _finish(report, folder, args)


def run_score(args: argparse.Namespace) -> int:
    """Scores any folder, sorts it and draws the best and the worst; returns the exit status."""
    guide = None if args.guide is None else read_guide(args.guide)
    if guide is None:
        paths, bad_files = {path.name: path for path in list_images(args.folder)}, []
    else:
        paths, missing = guide.find_images(args.folder)
        bad_files = [*guide.bad_lines, *missing]
    name = Path(args.folder).resolve().name
    judges, settings = _prepare(args, args.experiment, name, "random")
    scores = score_images(list(paths.values()), judges, names=list(paths), **_running(args))
    mos = None if guide is None else guide.scores
    report = build_quality_report(name, scores, mos, seed=args.seed, settings=settings, bad_files=bad_files)
    folder = Path(args.output or f"results/{resolve_experiment(args.experiment).name}/score/{name}")
    say_files(save_figure(draw_contact_sheet(report, paths, args.top), folder / "contact_sheet", ["png"], dpi=130))
    return _finish(report, folder, args, ranked=True)


def _finish(report: QualityReport, folder: Path, args: argparse.Namespace, ranked: bool = False) -> int:
    say(report.format())
    say_files(report.write(folder, ranked))
    if report.mos:
        say_files(save_figure(plot_agreement(report), folder / "scatter", args.formats))
    return report_bad_files(report.bad_files)


def _running(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "batch_size": args.batch_size,
        "num_workers": args.num_workers,
        "device": resolve_device(args.device),
    }


def _prepare(
    args: argparse.Namespace, experiment_name: str, test_set: str, protocol: Protocol
) -> tuple[dict[str, Judge], dict[str, Any]]:
    """Loads the critics and decides what they see: given on the command line, else the preset's, else the default."""
    experiment = resolve_experiment(experiment_name)
    source = Path(args.opt) if args.opt else find_option_file(experiment)
    options = read_option_file(source)
    preset = find_preset(args.preset) if args.preset else None
    size = tuple(args.img_size) if args.img_size else preset.img_size if preset else None
    critics = _load_critics(args, experiment, source, options, preset, size)
    trained = [critic.input_size for critic in critics.values() if critic.input_size]
    fallback = size or (trained[0] if trained else _training_size(options))
    protocols = {
        "spatial": args.test_protocol_spatial or (preset.protocol if preset else protocol),
        "spectral": args.test_protocol_spectral or (preset.protocol if preset else protocol),
    }
    if getattr(args, "CLIVE_crop_spatial", False) and canonical_name(test_set) == "LIVE-itW":
        protocols["spatial"] = "random"
    judges = {}
    for name, critic in critics.items():
        chosen = protocols[name]
        window = critic.input_size if chosen == "default" else critic.input_size or fallback
        plan = CropPlan(
            chosen,
            window,
            args.stride or (preset.stride if preset else 64),
            args.n_ensemble or (preset.n_ensemble if preset else default_ensemble(test_set)),
            args.seed,
        )
        judges[name] = Judge(critic, plan)
    settings = {
        "experiment": str(experiment),
        "fix_normalize": args.fix_normalize,
        "critics": {name: {"identity": critics[name].identity, **asdict(judges[name].plan)} for name in judges},
    }
    return judges, settings


def _load_critics(
    args: argparse.Namespace,
    experiment: Path,
    source: Path,
    options: Mapping[str, Any],
    preset: Preset | None,
    size: tuple[int, ...] | None,
) -> dict[str, Critic]:
    described = [name for name, prefix in CRITIC_NAMES.items() if options.get(OPTION_BLOCKS[prefix])]
    wanted = args.critics or described
    if not wanted:
        raise UserError(f"{source} describes no critic: neither {' nor '.join(OPTION_BLOCKS.values())}")
    windows = {
        "spatial": args.spatial_window_size or (preset.spatial_window if preset else None),
        "spectral": args.spectral_window_size or (preset.spectral_window if preset else None),
    }
    device: torch.device = resolve_device(args.device)
    return {
        name: load_critic(
            experiment,
            {"spatial": args.load_name, "spectral": args.load_name2}[name],
            name=name,
            img_size=None if size is None else (size[0], size[1]),
            window_size=windows[name],
            fix_normalize=True if args.fix_normalize else None,
            option_file=source,
            device=device,
        )
        for name in wanted
    }


def _training_size(options: Mapping[str, Any]) -> tuple[int, int] | None:
    size = options.get("gt_size") or (options.get("datasets") or {}).get("train", {}).get("gt_size")
    return (int(size), int(size)) if size else None
