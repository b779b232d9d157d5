"""The commands that measure how critics react to perturbed frequency bands."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from basicsr.analysis.arguments import (
    add_runtime_arguments,
    crop_side,
    positive_int,
    print_files,
    print_result,
    refuse_without,
    report_bad_files,
    resolve_device,
    split_label,
)
from basicsr.analysis.experiments import describe_file, find_weights, prepare_output, resolve_experiment, writing
from basicsr.analysis.images import list_images
from basicsr.analysis.quality_critic import Critic, load_critic
from basicsr.analysis.robustness import JudgedCritic, RobustnessSettings, measure_robustness
from basicsr.analysis.robustness_figure import plot_robustness
from basicsr.analysis.robustness_report import build_report, check_critic_labels
from basicsr.spectral.bands import MASK_CONVENTIONS
from basicsr.utils.errors import UserError
from basicsr.utils.figures import save_figure

FIRST_WEIGHTS, SECOND_WEIGHTS = "net_d", "net_spectral_d"


def add_robustness_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_robustness` for one critic of a run and any number of critics of any runs."""
    critics = parser.add_argument_group("critics")
    critics.add_argument("--experiment_name", metavar="N", help="run of --net and --net2: in experiments/, or a path")
    critics.add_argument("--net", metavar="LABEL", help="name of the critic in tables and figures")
    critics.add_argument(
        "--load_name",
        metavar="NAME",
        help=f"weights: net_d, net_spectral_d, net_d_5000 …; default: {FIRST_WEIGHTS}",
    )
    critics.add_argument(
        "--window_size", type=positive_int, metavar="W", help="attention window; default: that of training"
    )
    critics.add_argument("--opt", metavar="FILE", help="option file; default: the one in the run's folder")
    critics.add_argument(
        "--critic",
        action="append",
        default=[],
        metavar="LABEL=N[:NAME]",
        help=f"a critic of any run N, with weights NAME (default: {FIRST_WEIGHTS}); may be given any number of times",
    )
    data = parser.add_argument_group("images and perturbation")
    data.add_argument("--input", metavar="DIR", default="datasets/DIV2K/DIV2K_valid_HR", help="folder of images")
    data.add_argument(
        "--input_size", type=crop_side, default=192, metavar="S", help="side of the random crops, in pixels"
    )
    data.add_argument("--divide", type=positive_int, default=20, metavar="K", help="number of bands of equal width")
    data.add_argument("--noise_std", type=float, default=30.0, metavar="SIGMA", help="of the noise, in grey levels")
    data.add_argument("--repeat", type=positive_int, default=1, metavar="N", help="random crops per image")
    data.add_argument(
        "--mask", choices=MASK_CONVENTIONS, default="symmetric", help="symmetric about zero frequency, or as published"
    )
    parser.add_argument(
        "--relative",
        action="store_true",
        help="draw each curve divided by its geometric mean over bands, with the switch-over frequencies r1 and r2",
    )
    parser.add_argument("--no_cache", action="store_true", help="neither use nor keep scores of earlier calls")
    parser.add_argument(
        "--output", metavar="BASE", help="files are BASE.json …; default: robustness/LABELS in the first critic's run"
    )
    add_runtime_arguments(parser, batch_size=20, batch_help="perturbed images per forward pass", seed=23)


def add_ensemble_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Adds the second critic."""
    group = parser.add_argument_group("second critic")
    group.add_argument("--net2", required=required, metavar="LABEL", help="name of the second critic")
    group.add_argument("--load_name2", metavar="NAME", help=f"weights of the second critic; default: {SECOND_WEIGHTS}")
    group.add_argument("--window_size2", type=positive_int, metavar="W", help="attention window of the second critic")


@dataclass(frozen=True)
class _Wanted:
    """A critic that the command line asks for."""

    experiment: Path
    load_name: str
    window_size: int | None = None
    option_file: Path | None = None

    def load(self, label: str, size: int, device: torch.device) -> Critic:
        return load_critic(
            self.experiment,
            self.load_name,
            name=label,
            img_size=(size, size),
            window_size=self.window_size,
            option_file=self.option_file,
            device=device,
        )

    def describe(self, identity: str) -> dict[str, str]:
        """What it is, for the records of results; ``identity`` tells its architecture and window apart, too."""
        return {**describe_file(find_weights(self.experiment, self.load_name)), "identity": identity}


def run_robustness(args: argparse.Namespace) -> int:
    """Measures one critic, or several and their mean; returns the exit status."""
    settings = RobustnessSettings(args.input_size, args.divide, args.noise_std, args.mask, args.seed, args.repeat)
    wanted = _list_critics(args)
    device = resolve_device(args.device)
    critics = {label: one.load(label, args.input_size, device) for label, one in wanted.items()}
    paths = list_images(args.input)
    base = args.output or next(iter(wanted.values())).experiment / "robustness" / "_".join(wanted)
    source: dict[str, Any] = {
        "images": os.path.abspath(args.input),
        "critics": {label: one.describe(critics[label].identity) for label, one in wanted.items()},
    }
    prepare_output(base, source)
    scores, bad_files = measure_robustness(
        paths,
        {label: JudgedCritic(critic, critic.identity) for label, critic in critics.items()},
        settings,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        device=device,
        cache=None if args.no_cache else {label: one.experiment / "robustness/cache" for label, one in wanted.items()},
    )
    report = build_report(scores, settings, bad_files)
    print_result(report.format())
    with writing(base):
        print_files(
            [*report.write(base, source), *save_figure(plot_robustness(report, args.relative), base, args.formats)]
        )
    return report_bad_files(bad_files)


def _list_critics(args: argparse.Namespace) -> dict[str, _Wanted]:
    """The critics by label: those of ``--net`` and ``--net2``, then those of ``--critic`` in their order."""
    refuse_without(args, "net", "experiment_name", "load_name", "window_size", "opt", "net2")
    refuse_without(args, "experiment_name", "net")
    refuse_without(args, "net2", "load_name2", "window_size2")
    wanted: list[tuple[str, _Wanted]] = []
    if args.net is not None:
        experiment = resolve_experiment(args.experiment_name)
        option_file = None if args.opt is None else Path(args.opt)
        wanted.append(
            (
                args.net,
                _Wanted(
                    experiment,
                    FIRST_WEIGHTS if args.load_name is None else args.load_name,
                    args.window_size,
                    option_file,
                ),
            )
        )
        if getattr(args, "net2", None) is not None:
            weights = SECOND_WEIGHTS if args.load_name2 is None else args.load_name2
            wanted.append((args.net2, _Wanted(experiment, weights, args.window_size2, option_file)))
    wanted += [_read_critic(text) for text in args.critic]
    if not wanted:
        raise UserError("no critic to measure; give --experiment_name N --net LABEL, or --critic LABEL=N[:NAME]")
    check_critic_labels([label for label, _ in wanted])
    return dict(wanted)


def _read_critic(text: str) -> tuple[str, _Wanted]:
    label, place = split_label(text)
    if not label:
        raise UserError(f"--critic {text}: expected LABEL=N[:NAME] with a label, a run and, if need be, its weights")
    name, separator, weights = place.rpartition(":")
    if not separator or os.path.isdir(place):
        name, weights = place, FIRST_WEIGHTS
    return label, _Wanted(resolve_experiment(name), weights)
