"""``basicsr report`` and ``basicsr compare``; their flags are built without PyTorch."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

FORMATS = ("text", "markdown", "latex", "csv", "json")

logger = logging.getLogger("basicsr")


def add_report_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_report`."""
    text = "folders of trainings and tests, or names of runs in experiments/ and results/"
    parser.add_argument("runs", nargs="+", metavar="RUN", help=text)
    text = "the page; default: report.html in the folder of the run, or here for several"
    parser.add_argument("-o", "--output", metavar="PAGE", help=text)
    parser.add_argument("--images", type=int, default=8, metavar="N", help="how many images are shown at most")


def add_compare_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_compare`."""
    text = "folders or names of runs; differences are to the first; a single one is compared with bicubic interpolation"
    parser.add_argument("runs", nargs="+", metavar="RUN", help=text)
    parser.add_argument("--format", choices=FORMATS, default="text", help="of the table")


def run_report(args: argparse.Namespace) -> int:
    """Writes the page of a command line; returns the exit status."""
    from basicsr.reporting.report import FILE, write_report
    from basicsr.reporting.runs import find_run_folders
    from basicsr.utils.errors import UserError, explain_machine

    if args.images < 1:
        raise UserError(f"--images must be 1 or more, got {args.images}")
    folders = [folder for name in args.runs for folder in find_run_folders(name)]
    file = Path(args.output or (folders[0] / FILE if len(args.runs) == 1 else FILE))
    if file.is_dir():
        raise UserError(f"-o {file} is a folder; name a file in it, such as {file / FILE}")
    try:
        notes = write_report(folders, file, args.images)
    except OSError as error:
        if explain_machine(error):
            raise
        raise UserError(f"{file} cannot be written ({error.strerror}); name a file elsewhere with -o") from error
    for note in notes:
        logger.warning("%s", note)
    logger.info("Report: %s (%.1f MB)", file, file.stat().st_size / 1e6)
    return 0


def run_compare(args: argparse.Namespace) -> int:
    """Prints the table of a command line; returns the exit status.

    Raises:
        UserError: If numbers are of different protocols.
    """
    import sys

    from basicsr.reporting.comparison import choose_contestants, compare
    from basicsr.reporting.runs import find_run_folders, has_scores, read_runs
    from basicsr.utils.errors import UserError

    # Of a test and a training of one name the test's numbers count.
    found_folders = [find_run_folders(name) for name in args.runs]
    runs = read_runs([next(filter(has_scores, folders), folders[0]) for folders in found_folders])
    found = compare(choose_contestants(runs))
    if found.refusals:
        raise UserError("\n".join(found.refusals))
    for note in found.notes:
        logger.warning("%s", note)
    table = found.plain_table() if args.format in ("csv", "json") else found.table()
    sys.stdout.write(table.render(args.format) + "\n")
    return 0
