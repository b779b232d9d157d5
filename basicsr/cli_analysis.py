"""Sub-commands of analysis and scoring: the same work as ``scripts/*.py``, under one command.

Every parser has a default ``run``: a function from the parsed arguments to an exit status. Status 3 means that the
command finished, but some files could not be used; they are listed.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

from basicsr.engine.exits import run_to_exit_code


class Command(NamedTuple):
    """A command: what it is for, its arguments, and what it does."""

    summary: str
    add_arguments: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]


def _load_spectrum_commands() -> dict[str, Command]:
    from basicsr.analysis import robustness_commands as robustness
    from basicsr.analysis import spectrum_commands as commands

    def add_both(parser: argparse.ArgumentParser) -> None:
        robustness.add_robustness_arguments(parser)
        robustness.add_ensemble_arguments(parser, required=False)

    return {
        "bands": Command(
            "Error of Fourier magnitudes per frequency band, for one model or several.",
            commands.add_bands_arguments,
            commands.run_bands,
        ),
        "statistics": Command(
            "Mean and spread of radial power spectra, of images or of a model's outputs.",
            commands.add_statistics_arguments,
            commands.run_statistics,
        ),
        "plot": Command(
            "Overlay spectral statistics over frequency, with their ratio to the ground truth.",
            commands.add_plot_arguments,
            commands.run_plot,
        ),
        "robustness": Command(
            "How a discriminator's score changes when one frequency band is removed or disturbed.",
            add_both,
            robustness.run_robustness,
        ),
    }


def _load_script_commands() -> dict[str, Command]:
    from basicsr.analysis import robustness_commands as robustness
    from basicsr.analysis import score_commands

    def add_ensemble(parser: argparse.ArgumentParser) -> None:
        robustness.add_robustness_arguments(parser)
        robustness.add_ensemble_arguments(parser)

    spectrum = _load_spectrum_commands()
    ensemble = "Robustness of a spatial and a spectral discriminator and of their mean, per frequency band."
    return {
        **spectrum,
        "robustness": spectrum["robustness"]._replace(add_arguments=robustness.add_robustness_arguments),
        "ensemble": Command(ensemble, add_ensemble, robustness.run_robustness),
        "test_iqa": Command(
            "Score a test set without references and report agreement with opinions.",
            score_commands.add_test_iqa_arguments,
            score_commands.run_test_iqa,
        ),
    }


def add_spectrum_commands(subparsers: Any) -> None:
    """Adds ``spectrum bands|statistics|plot|robustness`` to the sub-parsers of a command."""
    summary = "Analyse models and discriminators in the frequency domain."
    spectrum = subparsers.add_parser("spectrum", help=summary, description=summary)
    inner = spectrum.add_subparsers(dest="spectrum_command", required=True, metavar="ANALYSIS")
    for name, command in _load_spectrum_commands().items():
        _add_command(inner, name, command)


def add_score_commands(subparsers: Any) -> None:
    """Adds ``score`` to the sub-parsers of a command."""
    from basicsr.analysis import score_commands

    summary = "Score image quality without a reference, by a run's discriminators."
    _add_command(subparsers, "score", Command(summary, score_commands.add_score_arguments, score_commands.run_score))


def _add_command(subparsers: Any, name: str, command: Command) -> None:
    from basicsr.analysis.arguments import HelpFormatter

    parser = subparsers.add_parser(
        name, help=command.summary, description=command.summary, formatter_class=HelpFormatter
    )
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)


def run_parsed(build_parser: Callable[[], argparse.ArgumentParser], argv: Sequence[str] | None) -> int:
    """Parses arguments, does the work, says what went wrong without a traceback.

    Args:
        build_parser: Makes the parser, whose default ``run`` does the work.
        argv: Arguments; None takes those of the process.

    Returns:
        The exit status.
    """

    def work() -> int:
        from basicsr.utils.logger import get_root_logger

        args = build_parser().parse_args(argv)
        get_root_logger()
        return int(args.run(args))

    return run_to_exit_code(work)


def build_script_parser(name: str) -> argparse.ArgumentParser:
    """The parser of one of ``scripts/*.py``."""
    from basicsr.analysis.arguments import HelpFormatter

    command = _load_script_commands()[name]
    parser = argparse.ArgumentParser(description=command.summary, formatter_class=HelpFormatter)
    command.add_arguments(parser)
    parser.set_defaults(run=command.run)
    return parser


def run_script(name: str, argv: Sequence[str] | None = None) -> int:
    """Runs one of ``scripts/*.py``.

    Args:
        name: ``bands``, ``statistics``, ``plot``, ``robustness``, ``ensemble`` or ``test_iqa``.
        argv: Arguments; by default those of the process.

    Returns:
        The exit status.
    """
    return run_parsed(partial(build_script_parser, name), argv)
