"""Training: ``python basicsr/train.py -opt FILE.yml``; see ``docs/train.md``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path

from basicsr.engine.exits import run_to_exit_code


def train_pipeline(root_path: str | os.PathLike[str], argv: Sequence[str] | None = None) -> None:
    """Trains as the command line says.

    Args:
        root_path: The project folder; results go to ``experiments/`` in it.
        argv: Arguments; ``None`` takes those of the process.

    Raises:
        UserError: For anything that the user can mend.
        Interrupted: After Ctrl-C or SIGTERM, once a checkpoint is written.
    """
    from basicsr.engine.check import run_check
    from basicsr.engine.distributed import joined_processes
    from basicsr.engine.training import run_training
    from basicsr.options import parse_options
    from basicsr.utils.determinism import flush_denormals
    from basicsr.utils.logger import get_root_logger

    get_root_logger()
    flush_denormals()
    opt, args = parse_options(root_path, is_train=True, argv=argv)
    with joined_processes(opt, args.launcher):
        if args.check:
            run_check(opt)
        else:
            run_training(opt, args.opt)


def project_root() -> Path:
    """The source tree that this file lies in; the working directory if the package is installed elsewhere."""
    tree = Path(__file__).resolve().parents[1]
    return tree if (tree / "pyproject.toml").is_file() else Path.cwd()


def main(argv: Sequence[str] | None = None, root_path: str | os.PathLike[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_to_exit_code(lambda: train_pipeline(root_path or project_root(), argv))


if __name__ == "__main__":
    sys.exit(main())
