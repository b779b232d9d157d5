"""``basicsr doctor``: is everything there that a run needs, on this machine? Works where PyTorch cannot be imported."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from basicsr.engine.exits import run_to_exit_code
from basicsr.engine.machine import Diagnosis, examine
from basicsr.utils.arguments import add_force_flag
from basicsr.utils.errors import DataError, UserError


def add_doctor_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_doctor`."""
    parser.description = """Say what this machine and installation are like, and what is wrong, each with what to do.
With -opt, say what that training will need as well: its data and weights are looked for, and what can be measured is
measured, by some real training steps, one validation image and one checkpoint, of which nothing is kept. With --fit,
say the largest batch that it can have here instead. The exit code is 3 if there are problems."""
    parser.add_argument("-opt", "--opt", metavar="FILE", help="option file of a training")
    add_force_flag(parser)
    parser.add_argument(
        "--fit", action="store_true", help="with -opt: find the largest batch that fits into the free memory instead"
    )
    parser.add_argument("--steps", type=int, default=10, metavar="N", help="training steps that are timed, after two")
    parser.add_argument("--json", action="store_true", help="print everything as JSON instead")


def run_doctor(args: argparse.Namespace) -> int:
    """Prints what was found; returns the exit status. Runs go to ``experiments/`` in the working directory."""
    root = Path.cwd()
    found = examine(root / "experiments")

    def foresee() -> None:
        from basicsr.engine.fitting import fit_batch
        from basicsr.engine.forecast import forecast

        if args.opt is None:
            raise UserError("--fit finds the batch for a training: name its option file with -opt FILE")
        if args.fit:
            fit_batch(found, args.opt, args.force_yml, root)
            return
        forecast(found, args.opt, args.force_yml, root, max(1, args.steps))

    code = run_to_exit_code(foresee) if args.fit or args.opt is not None else 0
    _print(found, as_json=args.json)
    return code or (DataError.exit_code if found.problems else 0)


def _print(found: Diagnosis, as_json: bool) -> None:
    content = {**found.facts, "numbers": found.numbers, "problems": found.problems}
    text = json.dumps(content, indent=2) if as_json else found.format()
    sys.stdout.write(f"{text}\n")
