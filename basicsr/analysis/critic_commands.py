"""The commands that score image quality without a reference, and measure how critics react to perturbed bands."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

from basicsr.analysis.arguments import (
    print_files,
    print_result,
    read_runtime,
    refuse_without,
    report_bad_files,
    split_label,
)
from basicsr.analysis.experiments import describe_file, prepare_output, resolve_experiment, writing
from basicsr.analysis.images import list_images
from basicsr.analysis.opinions import read_guide
from basicsr.analysis.quality_critic import describe_support, load_critic, prepare_judges
from basicsr.analysis.robustness import RobustnessSettings, measure_robustness
from basicsr.analysis.robustness_report import RobustnessReport, check_critic_labels, plot_robustness
from basicsr.analysis.score_report import (
    QualityReport,
    choose_folder,
    clear_figures,
    draw_contact_sheet,
    plot_agreement,
)
from basicsr.analysis.scorer import score_images
from basicsr.evaluation.figures import save_figure
from basicsr.utils.dist_util import is_master
from basicsr.utils.errors import DataError, UserError, check_file_name


def run_score(args: argparse.Namespace) -> int:
    """Scores the images of a folder and, with a guide, reports agreement with opinions; returns the exit status.

    ``args.kind`` is ``iqa`` for the set that a guide lists, as published, or ``score`` for all images of the folder,
    which are sorted, the best and the worst (``args.top`` of each) being drawn.
    """
    # Find the images: those that the guide names, in sub-folders too, and for a score all others of the folder.
    guide = None if args.test_set_guider is None else read_guide(args.test_set_guider)
    paths, missing = ({}, []) if guide is None else guide.find_images(args.test_set)
    if args.kind == "score":
        spelled = {_locate(path): name for name, path in paths.items()}
        try:
            listed = {_locate(path): path for path in list_images(args.test_set)}
        except DataError:
            if not paths:
                raise
            listed = {}  # the guide's images are all in sub-folders
        paths = {spelled.get(place, path.name): path for place, path in listed.items()} | paths
        missing = [bad for bad in missing if _locate(Path(args.test_set, bad.name)) not in listed]

    # Score them.
    images = Path(args.test_set).resolve()
    name = args.test_set_name or images.name
    results = Path("results") / resolve_experiment(args.experiment_name).resolve().name / args.kind
    if args.output is None:
        try:
            check_file_name(name)
        except ValueError as error:
            raise UserError(f"{images}: {error}, or say with --output where results go") from None
    judges, recorded = prepare_judges(args, name)
    settings = {"images": str(images), "guide": guide and describe_file(args.test_set_guider), **recorded}
    folder = Path(args.output) if args.output else choose_folder(results / name, settings)
    prepare_output(folder / "scores")
    scores = score_images(list(paths.values()), judges, read_runtime(args), names=list(paths))
    if not is_master():
        return 0
    mos, bad_lines = guide or (None, ())
    bad_files = (*bad_lines, *missing)
    report = QualityReport(name, scores, mos, settings, bad_files, args.seed, describe_support(args))
    print_result(report.format())
    clear_figures(folder)
    files = report.write(folder, ranked=args.kind == "score")
    if args.top:
        files += save_figure(draw_contact_sheet(report, paths, args.top), folder / "contact_sheet", ["png"], dpi=130)
    if len(report.rated):
        files += save_figure(plot_agreement(report), folder / "scatter", args.formats)
    print_files(files)
    return report_bad_files(report.bad_files)


def _locate(path: Path) -> Path:
    """Where a file stands, however that is spelled; a link is a file of its own."""
    return path.parent.resolve() / path.name


def run_robustness(args: argparse.Namespace) -> int:
    """Measures one critic, or several and their mean; returns the exit status."""
    settings = RobustnessSettings(args.input_size, args.divide, args.noise_std, args.mask, args.seed, args.repeat)

    # List the critics of --net and --net2, then those of --critic in their order.
    refuse_without(args, "net", "experiment_name", "load_name", "window_size", "opt", "net2")
    refuse_without(args, "experiment_name", "net")
    refuse_without(args, "net2", "load_name2", "window_size2")
    listed: list[tuple[str, dict[str, Any]]] = []
    first = (args.net, args.load_name or "net_d", args.window_size)
    second = (args.net2, args.load_name2 or "net_spectral_d", args.window_size2)
    for label, load_name, window_size in (first, second):
        if label is not None:
            run = {"experiment": resolve_experiment(args.experiment_name), "option_file": args.opt and Path(args.opt)}
            listed.append((label, {**run, "load_name": load_name, "window_size": window_size}))
    for text in args.critic:
        label, place = split_label(text)
        if not label:
            form = "LABEL=N[:NAME] with a label, a run and, if need be, its weights"
            raise UserError(f"--critic {text}: expected {form}")
        name, separator, weights = place.rpartition(":")
        if not separator or os.path.isdir(place):
            name, weights = place, "net_d"
        listed.append((label, {"experiment": resolve_experiment(name), "load_name": weights}))
    if not listed:
        raise UserError("no critic to measure; give --experiment_name N --net LABEL, or --critic LABEL=N[:NAME]")
    check_critic_labels([label for label, _ in listed])
    wanted = dict(listed)

    # Load and measure them.
    runtime = read_runtime(args)
    shared: dict[str, Any] = {"img_size": (args.input_size, args.input_size), "device": runtime.device}
    critics = {label: load_critic(**critic, **shared, name=label) for label, critic in wanted.items()}
    paths = list_images(args.input)
    places = {label: Path(critic["experiment"]) / "robustness" for label, critic in wanted.items()}
    base = args.output or next(iter(places.values())) / "_".join(wanted)
    # Architectures and windows of the same weights are told apart; sizes follow from that of the crops.
    identified = {
        label: {**critic.weights, "network": {key: value for key, value in critic.network.items() if key != "img_size"}}
        for label, critic in critics.items()
    }
    source = {"images": os.path.abspath(args.input), "input_size": args.input_size, "critics": identified}
    prepare_output(base, source)
    cache = None if args.no_cache else {label: place / "cache" for label, place in places.items()}
    scores, bad_files = measure_robustness(paths, critics, settings, runtime, cache)
    if not is_master():
        return 0
    report = RobustnessReport(scores, settings, bad_files)
    print_result(report.format())
    with writing(base):
        figure = plot_robustness(report, args.relative)
        print_files([*report.write(base, source), *save_figure(figure, base, args.formats)])
    return report_bad_files(bad_files)
