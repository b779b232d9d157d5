"""Testing: ``python basicsr/test.py -opt FILE.yml``; see ``docs/test.md``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from basicsr.engine.exits import run_to_exit_code
from basicsr.train import project_root
from basicsr.utils.arguments import build_parser


def test_pipeline(root_path: str | os.PathLike[str], argv: Sequence[str] | None = None) -> None:
    """Tests as the command line says.

    Args:
        root_path: The project folder; results go to ``results/`` in it.
        argv: Arguments; ``None`` takes those of the process.

    Raises:
        UserError: For anything that the user can fix.
    """
    from basicsr.engine.pipeline import run_pipeline

    run_pipeline(root_path, argv, is_train=False)


def main(argv: Sequence[str] | None = None, root_path: str | os.PathLike[str] | None = None) -> int:
    """The command; returns its exit code."""
    build_parser(is_train=False).parse_args(argv)  # answers -h and wrong flags before torch is loaded
    return run_to_exit_code(lambda: test_pipeline(root_path or project_root(), argv))


if __name__ == "__main__":
    sys.exit(main())
