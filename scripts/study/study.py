"""A small controlled study of spatial and spectral critics on bundled photographs; see docs/study.md.

python scripts/study/study.py all                 train, measure, report: half an hour on two CPU cores
python scripts/study/study.py train --seeds 0 1   only some; what is finished is not trained again
python scripts/study/study.py all --size large    the same with larger networks, on a GPU
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2]), str(Path(__file__).resolve().parent)]

from basicsr.analysis.study_command import add_study_arguments
from basicsr.engine.exits import run_to_exit_code


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_study_arguments(parser)
    return parser


def run_step(args: argparse.Namespace) -> None:
    import torch
    from study_measures import measure_all
    from study_runs import study_folder, train_all

    torch.set_num_threads(2)
    folder = study_folder(args.size, args.root)
    device = "cuda" if args.size == "large" and torch.cuda.is_available() else "cpu"
    if args.step in ("train", "all"):
        train_all(args.seeds, args.size, args.jobs, args.root)
    if args.step in ("measure", "all"):
        measure_all(args.seeds, args.size, device, args.root)
    if args.step in ("report", "all"):
        report(args, folder)


def report(args: argparse.Namespace, folder: Path) -> None:
    """Writes figures and tables.

    Raises:
        DataError: If there are no results.
    """
    from study_report import tables, write_report

    from basicsr.utils.errors import DataError

    source = args.results or folder / "results.json"
    if not source.is_file():
        raise DataError(f"no results at {source}; run study.py measure first, or give --results FILE")
    results = json.loads(source.read_text(encoding="utf-8"))
    page = args.page or folder / "tables.md"
    if not page.is_file():
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text("".join(f"<!-- {name}:begin -->\n<!-- {name}:end -->\n\n" for name in tables(results)))
    for path in write_report(results, folder, args.figures or folder, page):
        print(path)


def main(argv: Sequence[str] | None = None) -> int:
    return run_to_exit_code(lambda: run_step(build_parser().parse_args(argv)))


if __name__ == "__main__":
    sys.exit(main())
