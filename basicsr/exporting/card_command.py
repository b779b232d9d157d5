"""``basicsr card``: writes a run's model card and the pictures in it."""

from __future__ import annotations

import argparse
from pathlib import Path

from basicsr.analysis.arguments import positive_int, print_files

DEFAULT_NAME = "card.md"


def add_card_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_card`."""
    parser.add_argument(
        "run_name", metavar="RUN", help="a training: its folder or name, or a weights file in its folder"
    )
    text = f"the card (FILE.md), or the folder to write {DEFAULT_NAME} in; default: the run's folder"
    parser.add_argument("-o", "--output", metavar="FILE|DIR", type=Path, help=text)
    text = "folders of tests of these weights (results/NAME), whose metrics and pictures are shown too"
    parser.add_argument("--results", nargs="+", default=[], metavar="DIR", type=Path, help=text)
    parser.add_argument("--license", metavar="TEXT", help="the weights' licence; without it the card says `not stated`")
    parser.add_argument("--pictures", type=positive_int, default=4, metavar="N", help="most example pictures")


def run_card(args: argparse.Namespace) -> int:
    """Writes the card; returns the exit status."""
    from basicsr.exporting.card import write_card
    from basicsr.exporting.card_run import read_card_run

    run = read_card_run(args.run_name, args.results)
    output = args.output or run.folder
    file = output if output.suffix.lower() == ".md" else output / DEFAULT_NAME
    print_files(write_card(run, file, args.license, args.pictures))
    return 0
