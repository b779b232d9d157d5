"""Testing: ``python basicsr/test.py -opt FILE.yml``; see ``docs/test.md``."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from basicsr.engine.exits import run_to_exit_code
from basicsr.train import project_root


def test_pipeline(root_path: str | os.PathLike[str], argv: Sequence[str] | None = None) -> None:
    """Tests as the command line says.

    Args:
        root_path: The project folder; results go to ``results/`` in it.
        argv: Arguments; ``None`` takes those of the process.

    Raises:
        UserError: For anything that the user can mend.
    """
    from basicsr.engine.check import run_check
    from basicsr.engine.distributed import joined_processes
    from basicsr.engine.testing import run_test
    from basicsr.options import parse_options
    from basicsr.utils.logger import get_root_logger

    get_root_logger()
    opt, args = parse_options(root_path, is_train=False, argv=argv)
    with joined_processes(opt, args.launcher):
        if args.check:
            run_check(opt)
        else:
            run_test(opt, args.opt)


def main(argv: Sequence[str] | None = None, root_path: str | os.PathLike[str] | None = None) -> int:
    """The command; returns its exit code."""
    return run_to_exit_code(lambda: test_pipeline(root_path or project_root(), argv))


if __name__ == "__main__":
    sys.exit(main())
