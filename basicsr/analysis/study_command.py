"""``basicsr study``: the study of critics in ``scripts/study/``, which a checkout has, and a wheel has not."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from basicsr.utils.errors import UserError

STUDY = Path(__file__).resolve().parents[2] / "scripts" / "study"


def add_study_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_study`, and of ``scripts/study/study.py``."""
    parser.add_argument(
        "step", choices=["train", "measure", "report", "all"], help="what is finished is not done again"
    )
    text = "large is for a GPU; tiny tries the programs"
    parser.add_argument("--size", default="small", choices=["small", "large", "tiny"], help=text)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="of the runs")
    parser.add_argument("--jobs", type=int, default=2, help="runs at a time: each takes one core, or shares the GPU")
    parser.add_argument("--root", type=Path, help="parent of the study's folder; default: experiments/")
    parser.add_argument("--results", type=Path, help="results file to report; default: that of the study's folder")
    parser.add_argument("--figures", type=Path, help="where figures go; default: the study's folder")
    parser.add_argument("--page", type=Path, help="Markdown page whose tables are replaced; default: tables.md there")


def run_study(args: argparse.Namespace) -> int:
    """Does a step of the study; returns the exit status.

    Raises:
        UserError: If this is no checkout.
    """
    if not STUDY.is_dir():
        raise UserError(
            f"there is no {STUDY}: the study's programs are in a checkout of this project, not in its wheel"
        )
    sys.path.insert(0, str(STUDY))
    import study

    study.run_step(args)
    return 0
