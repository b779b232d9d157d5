"""What the command lines of data preparation share."""

from __future__ import annotations

import logging
from collections.abc import Callable

from basicsr.utils.errors import DataError


def run_command(action: Callable[[], int | None]) -> int:
    """Runs a step of which a second run goes on where the first one ended.

    :func:`basicsr.engine.exits.run_to_exit_code`, in which scripts run this, makes messages and exit codes of errors.

    Returns:
        What ``action`` returns; 0 for None.

    Raises:
        DataError: For a disk that is full, or a file or folder that cannot be read or written.
        KeyboardInterrupt: After Ctrl-C, with a text that says how to go on.
    """
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        return action() or 0
    except OSError as error:
        raise DataError(f"{error}; mend this and run the same command again") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted; run the same command again to go on.") from None
