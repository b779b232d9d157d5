"""Sub-commands of upscaling, analysis and scoring; much of it is the work of ``scripts/*.py``, under one command.

Building parsers imports nothing that takes time; the module of a command is imported when the command runs. Exit status
3 means that the command finished, but some files could not be used; they are listed.
"""

from __future__ import annotations

import argparse
import pkgutil
from collections.abc import Callable, Sequence
from functools import partial

from basicsr.analysis.arguments import HelpFormatter
from basicsr.analysis.critic_arguments import (
    add_robustness_arguments,
    add_score_arguments,
    add_test_iqa_arguments,
)
from basicsr.analysis.spectrum_commands import add_bands_arguments, add_plot_arguments, add_statistics_arguments
from basicsr.analysis.weight_commands import add_export_arguments, add_interpolate_arguments
from basicsr.engine.exits import run_to_exit_code
from basicsr.upscaling.command import DESCRIPTION as _UPSCALE
from basicsr.upscaling.command import add_upscale_arguments
from basicsr.utils.arguments import add_import_flag

_BANDS = "Error of Fourier magnitudes per frequency band, for one model or several."
_STATISTICS = "Mean and spread of radial power spectra, of images or of a model's outputs."
_PLOT = "Overlay spectral statistics over frequency, with their ratio to the ground truth."
_ROBUSTNESS = "How a discriminator's score changes when one frequency band is removed or disturbed."
_ENSEMBLE = "Robustness of a spatial and a spectral discriminator and of their mean, per frequency band."
_TEST_IQA = "Score a test set without references and report agreement with opinions."
_OPTIONS = "Describe all options, those of parts of your own too, or print their JSON schema."
_EXPORT = "Write a generator's weights as .safetensors, with what is known of them, or as .pth."
_INTERPOLATE = "Write the network between two of one architecture: (1 - A) of the first and A of the second."
_SCORE = "Score image quality without a reference, by a run's discriminators."

_RUN_ROBUSTNESS = "analysis.critic_commands:run_robustness"
_RUN_SCORE = "analysis.critic_commands:run_score"


def add_options_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`basicsr.options.parse.run_options_command`."""
    parser.add_argument("names", nargs="*", metavar="PART", help="parts such as train or networks; default: all")
    parser.add_argument("-opt", "--opt", metavar="FILE", help="load the parts that this option file imports")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of option files instead")
    parser.add_argument("--write", metavar="PAGE", help="renew the generated parts of a page and the shipped schema")


COMMANDS: dict[str, tuple[str, Callable[[argparse.ArgumentParser], None], str]] = {
    "upscale": (_UPSCALE, add_upscale_arguments, "upscaling.command:run_upscale"),
    "bands": (_BANDS, add_bands_arguments, "analysis.spectrum_commands:run_bands"),
    "statistics": (_STATISTICS, add_statistics_arguments, "analysis.spectrum_commands:run_statistics"),
    "plot": (_PLOT, add_plot_arguments, "analysis.spectrum_commands:run_plot"),
    "robustness": (_ROBUSTNESS, add_robustness_arguments, _RUN_ROBUSTNESS),
    "ensemble": (_ENSEMBLE, partial(add_robustness_arguments, needs_second=True), _RUN_ROBUSTNESS),
    "test_iqa": (_TEST_IQA, add_test_iqa_arguments, _RUN_SCORE),
    "score": (_SCORE, add_score_arguments, _RUN_SCORE),
    "export": (_EXPORT, add_export_arguments, "analysis.weight_commands:run_export"),
    "interpolate": (_INTERPOLATE, add_interpolate_arguments, "analysis.weight_commands:run_interpolate"),
    "options": (_OPTIONS, add_options_arguments, "options.parse:run_options_command"),
}
"""What ``scripts/*.py`` and sub-commands run; of the sub-commands, ``robustness`` is that of one critic or two.

Each says what it is for, what adds its arguments, and the function in :mod:`basicsr` that does it, which takes the
parsed arguments and returns the exit status.
"""


def add_commands(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Adds ``upscale``, ``spectrum bands|…``, ``score``, ``options`` and others to the sub-commands of a command."""
    build_script_parser("upscale", partial(subparsers.add_parser, "upscale", help=COMMANDS["upscale"][0]))
    summary = "Analyse models and discriminators in the frequency domain."
    parser = subparsers.add_parser("spectrum", help=summary, description=summary)
    analyses = parser.add_subparsers(dest="spectrum_command", required=True, metavar="ANALYSIS")
    others = ("score", "export", "interpolate", "options")
    for place, names in ((analyses, ("bands", "statistics", "plot", "robustness")), (subparsers, others)):
        for name in names:
            build_script_parser(name, partial(place.add_parser, name, help=COMMANDS[name][0]))


def build_script_parser(
    name: str, make_parser: Callable[..., argparse.ArgumentParser] = argparse.ArgumentParser
) -> argparse.ArgumentParser:
    """The parser of one of ``scripts/*.py``; ``make_parser`` makes that of a sub-command instead."""
    description, add_arguments, run = COMMANDS[name]
    parser = make_parser(description=description, formatter_class=HelpFormatter)
    add_arguments(parser)
    add_import_flag(parser)
    parser.set_defaults(run=run)
    return parser


def run_parsed(build_parser: Callable[[], argparse.ArgumentParser], argv: Sequence[str] | None) -> int:
    """Parses arguments, does the work, says what went wrong without a traceback.

    Args:
        build_parser: Makes the parser, whose default ``run`` names the function that does the work.
        argv: Arguments; None takes those of the process.

    Returns:
        The exit status.
    """
    # Before anything heavy is loaded: help and a wrong flag are answered at once.
    args = build_parser().parse_args(argv)

    def work() -> int:
        from basicsr.options.imports import import_parts
        from basicsr.utils.dist_util import init_dist, is_under_torchrun, shut_down_dist, works_here
        from basicsr.utils.logger import get_root_logger

        get_root_logger()
        # Commands that measure images share them among the processes.
        if "device" in args:
            if is_under_torchrun():
                init_dist("pytorch", "gloo", use_gpu=args.device in ("auto", "cuda"))
        elif not works_here():
            return 0
        import_parts(args.imports)
        status = int(pkgutil.resolve_name(f"basicsr.{args.run}")(args))
        # Not after an error: the other processes may wait in the group for this one, until the launcher ends them.
        shut_down_dist()
        return status

    return run_to_exit_code(work)


def run_script(name: str, argv: Sequence[str] | None = None) -> int:
    """Runs one of ``scripts/*.py``.

    Args:
        name: ``bands``, ``statistics``, ``plot``, ``robustness``, ``ensemble`` or ``test_iqa``.
        argv: Arguments; by default those of the process.

    Returns:
        The exit status.
    """
    return run_parsed(partial(build_script_parser, name), argv)
