"""The commands that measure how critics react to perturbed frequency bands."""

from __future__ import annotations

import argparse
from pathlib import Path

from basicsr.iqa.critics import load_critic
from basicsr.spectral.arguments import add_runtime_arguments, report_bad_files, resolve_device, say, say_files
from basicsr.spectral.bands import MASK_CONVENTIONS
from basicsr.spectral.experiments import resolve_experiment
from basicsr.spectral.images import list_images
from basicsr.spectral.plots import plot_robustness, save_figure
from basicsr.spectral.robustness import JudgedCritic, RobustnessSettings, measure_robustness
from basicsr.spectral.robustness_report import build_report
from basicsr.utils.errors import UserError


def add_robustness_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_robustness` for one critic."""
    critics = parser.add_argument_group("critics")
    critics.add_argument("--experiment_name", required=True, metavar="N", help="run in experiments/, or a path to one")
    critics.add_argument("--net", required=True, metavar="LABEL", help="name of the critic in tables and figures")
    critics.add_argument(
        "--load_name", default="net_d", metavar="NAME", help="weights: net_d, net_spectral_d, net_d_5000 …"
    )
    critics.add_argument("--window_size", type=int, metavar="W", help="attention window; default: that of training")
    critics.add_argument("--opt", metavar="FILE", help="option file; default: the one in the run's folder")
    data = parser.add_argument_group("images and perturbation")
    data.add_argument("--input", metavar="DIR", default="datasets/DIV2K/DIV2K_valid_HR", help="folder of images")
    data.add_argument("--input_size", type=int, default=192, metavar="S", help="side of the random crops, in pixels")
    data.add_argument("--divide", type=int, default=20, metavar="K", help="number of bands of equal width")
    data.add_argument("--noise_std", type=float, default=30.0, metavar="SIGMA", help="of the noise, in grey levels")
    data.add_argument("--repeat", type=int, default=1, metavar="N", help="random crops per image")
    data.add_argument(
        "--mask", choices=MASK_CONVENTIONS, default="symmetric", help="symmetric about zero frequency, or as published"
    )
    parser.add_argument(
        "--relative", action="store_true", help="draw each curve divided by its geometric mean over bands"
    )
    parser.add_argument("--no_cache", action="store_true", help="neither use nor keep scores of earlier calls")
    add_runtime_arguments(parser, batch_size=20, batch_help="perturbed images per forward pass", seed=23)


def add_ensemble_arguments(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """Adds the second critic."""
    group = parser.add_argument_group("second critic")
    group.add_argument("--net2", required=required, metavar="LABEL", help="name of the second critic")
    group.add_argument("--load_name2", default="net_spectral_d", metavar="NAME", help="weights of the second critic")
    group.add_argument("--window_size2", type=int, metavar="W", help="attention window of the second critic")


def run_robustness(args: argparse.Namespace) -> int:
    """Measures one critic, or two and their mean; returns the exit status."""
    experiment = resolve_experiment(args.experiment_name)
    device = resolve_device(args.device)
    settings = RobustnessSettings(args.input_size, args.divide, args.noise_std, args.mask, args.seed, args.repeat)
    wanted = [(args.net, args.load_name, args.window_size)]
    if getattr(args, "net2", None):
        wanted.append((args.net2, args.load_name2, args.window_size2))
    if len({label for label, _, _ in wanted}) < len(wanted):
        raise UserError(f"--net and --net2 must differ; both are {args.net!r}")
    critics = {}
    for label, load_name, window_size in wanted:
        critic = load_critic(
            experiment,
            load_name,
            name=label,
            img_size=(args.input_size, args.input_size),
            window_size=window_size,
            option_file=Path(args.opt) if args.opt else None,
            device=device,
        )
        critics[label] = JudgedCritic(critic, critic.identity)
    folder = experiment / "robustness"
    scores, bad_files = measure_robustness(
        list_images(args.input),
        critics,
        settings,
        batch_size=args.batch_size,
        num_workers=args.num_workers,
        device=device,
        cache=None if args.no_cache else folder / "cache",
    )
    report = build_report(scores, settings, bad_files)
    base = folder / "_".join(critics)
    say(report.format())
    say_files([*report.write(base), *save_figure(plot_robustness(report, args.relative), base, args.formats)])
    return report_bad_files(bad_files)
