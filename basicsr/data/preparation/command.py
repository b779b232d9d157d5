"""What the command lines of data preparation share."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable


def run_command(action: Callable[[], int | None]) -> int:
    """Runs a step; a user's mistake, and a disk that is full or cannot be written, become one line on standard error.

    Returns:
        Exit code: what ``action`` gives (None: 0), the error's own code, or 130 after Ctrl-C.
    """
    from basicsr.utils.errors import DataError, UserError

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return action() or 0
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except OSError as error:
        sys.stderr.write(f"error: {error}\n")
        return DataError.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("stopped; run the same command again to go on\n")
        return 130
