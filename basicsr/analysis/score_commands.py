"""The commands that score image quality without a reference."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.analysis.arguments import (
    add_runtime_arguments,
    positive_int,
    print_files,
    print_result,
    report_bad_files,
    resolve_device,
)
from basicsr.analysis.experiments import describe_file, prepare_output, resolve_experiment
from basicsr.analysis.guide import Guide, read_guide
from basicsr.analysis.images import BadFile, list_images
from basicsr.analysis.judging import CRITIC_NAMES, prepare_judges
from basicsr.analysis.presets import PRESETS
from basicsr.analysis.protocols import PROTOCOLS
from basicsr.analysis.result_folder import choose_folder, clear_figures
from basicsr.analysis.score_report import QualityReport, build_quality_report, draw_contact_sheet, plot_agreement
from basicsr.analysis.scorer import score_images
from basicsr.utils.errors import DataError
from basicsr.utils.figures import save_figure


def _add_scoring_arguments(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("how images are shown to the critics")
    group.add_argument("--preset", metavar="SET", help=f"the paper's set-up for a data set: {', '.join(PRESETS)}")
    group.add_argument(
        "--img_size", type=positive_int, nargs=2, metavar=("H", "W"), help="window; default: size of training"
    )
    group.add_argument(
        "--spatial_window_size", type=positive_int, metavar="W", help="attention window of the spatial critic"
    )
    group.add_argument(
        "--spectral_window_size", type=positive_int, metavar="W", help="attention window of the spectral critic"
    )
    group.add_argument("--test_protocol_spatial", choices=PROTOCOLS, help="what the spatial critic sees")
    group.add_argument("--test_protocol_spectral", choices=PROTOCOLS, help="what the spectral critic sees")
    group.add_argument(
        "--n_ensemble", type=positive_int, metavar="N", help="random windows per image; default 20 (KonIQ-10k: 40)"
    )
    group.add_argument(
        "--stride", type=positive_int, metavar="PIXELS", help="step of the patchify protocol; default 64"
    )
    group.add_argument(
        "--fix_normalize",
        action="store_true",
        help="scale spectra patch by patch, whatever the option file says; otherwise a critic trained with batch-wide "
        "scaling sees every window scaled by itself",
    )
    critics = parser.add_argument_group("critics")
    critics.add_argument("--opt", metavar="FILE", help="option file; default: the one in the run's folder")
    critics.add_argument("--critics", nargs="+", choices=list(CRITIC_NAMES), help="default: all in the option file")
    critics.add_argument(
        "--load_name", default=CRITIC_NAMES["spatial"], metavar="NAME", help="weights of the spatial critic"
    )
    critics.add_argument(
        "--load_name2", default=CRITIC_NAMES["spectral"], metavar="NAME", help="weights of the spectral critic"
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
    parser.add_argument(
        "--top", type=positive_int, default=8, metavar="N", help="images of each kind on the contact sheet"
    )
    parser.add_argument("--output", metavar="DIR", help="default: results/N/score/FOLDER")
    add_runtime_arguments(parser, batch_size=16, batch_help="windows per forward pass", seed=23)


def run_test_iqa(args: argparse.Namespace) -> int:
    """Scores a set with opinions, which is what its guide lists, and reports agreement; returns the exit status."""
    guide = read_guide(args.test_set_guider)
    paths, missing = guide.find_images(args.test_set)
    name = args.test_set_name
    judges, recorded = prepare_judges(args, args.experiment_name, name, "default")
    settings = _describe_settings(args.test_set, args.test_set_guider, recorded)
    folder = _prepare_output(args, args.experiment_name, f"iqa/{name}", settings)
    scores = score_images(list(paths.values()), judges, names=list(paths), **_running(args))
    bad_files = (*guide.bad_lines, *missing)
    report = build_quality_report(name, scores, guide.scores, seed=args.seed, settings=settings, bad_files=bad_files)
    clear_figures(folder)
    return _finish(report, folder, args)


def run_score(args: argparse.Namespace) -> int:
    """Scores any folder, sorts it and draws the best and the worst; returns the exit status."""
    guide = None if args.guide is None else read_guide(args.guide)
    paths, bad_files = _list_with_guide(args.folder, guide)
    name = Path(args.folder).resolve().name
    judges, recorded = prepare_judges(args, args.experiment, name, "random")
    settings = _describe_settings(args.folder, args.guide, recorded)
    folder = _prepare_output(args, args.experiment, f"score/{name}", settings)
    scores = score_images(list(paths.values()), judges, names=list(paths), **_running(args))
    mos = None if guide is None else guide.scores
    report = build_quality_report(name, scores, mos, seed=args.seed, settings=settings, bad_files=bad_files)
    clear_figures(folder)
    print_files(save_figure(draw_contact_sheet(report, paths, args.top), folder / "contact_sheet", ["png"], dpi=130))
    return _finish(report, folder, args, ranked=True)


def _list_with_guide(folder: str, guide: Guide | None) -> tuple[dict[str, Path], list[BadFile]]:
    """All images of a folder, those in its sub-folders that the guide names, and what is wrong with the guide."""
    if guide is None:
        return {path.name: path for path in list_images(folder)}, []
    named, missing = guide.find_images(folder)
    try:
        listed = {_locate(path): path for path in list_images(folder)}
    except DataError:
        listed = {}  # the guide's images are all in sub-folders
    names = {_locate(path): name for name, path in named.items()}
    paths = {names.get(place, path.name): path for place, path in listed.items()}
    absent = [bad for bad in missing if _locate(Path(folder) / bad.name) not in listed]
    return {**paths, **named}, [*guide.bad_lines, *absent]


def _locate(path: Path) -> Path:
    """Where a file stands, however that is spelled; a link is a file of its own."""
    return path.parent.resolve() / path.name


def _describe_settings(folder: str, guide: str | None, recorded: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "images": str(Path(folder).resolve()),
        "guide": None if guide is None else describe_file(guide),
        **recorded,
    }


def _prepare_output(args: argparse.Namespace, experiment: str, place: str, settings: Mapping[str, Any]) -> Path:
    """Decides where results go, and tries whether they can be written there before hours of work."""
    if args.output:
        folder = Path(args.output)
    else:
        folder = choose_folder(Path("results") / resolve_experiment(experiment).resolve().name / place, settings)
    prepare_output(folder / "scores")
    return folder


def _finish(report: QualityReport, folder: Path, args: argparse.Namespace, ranked: bool = False) -> int:
    print_result(report.format())
    print_files(report.write(folder, ranked))
    if report.mos:
        print_files(save_figure(plot_agreement(report), folder / "scatter", args.formats))
    return report_bad_files(report.bad_files)


def _running(args: argparse.Namespace) -> dict[str, Any]:
    return {
        "batch_size": args.batch_size,
        "num_workers": args.num_workers,
        "device": resolve_device(args.device),
    }
