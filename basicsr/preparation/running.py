"""Running a preparation step: one function over many files, and a command that a second run goes on with."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TypeVar

from tqdm.contrib.concurrent import thread_map

from basicsr.utils.arguments import available_cores
from basicsr.utils.errors import DataError, explain_machine

Item = TypeVar("Item")
Result = TypeVar("Result")

_MOST_LISTED = 20


def default_workers() -> int:
    """One worker a core that this process may use, 16 at most."""
    return min(16, available_cores())


def map_files(
    function: Callable[[Item], Result], items: Sequence[Item], num_workers: int | None, description: str
) -> list[Result | DataError]:
    """Applies ``function`` to every item; images that cannot be used are named in the log and do not stop the others.

    Threads are enough: image decoding and encoding do not hold the interpreter.

    Args:
        function: Raises ``DataError`` for an image that cannot be used.
        items: What to work on.
        num_workers: Threads; None or 0: :func:`default_workers`.
        description: For the progress bar.

    Returns:
        The results in the order of the items, with the error in place of the result of those that failed.
    """

    def attempt(item: Item) -> Result | DataError:
        try:
            return function(item)
        except DataError as error:
            logging.getLogger("basicsr").warning("%s", error)
            return error

    workers = max(1, num_workers or default_workers())
    return list(thread_map(attempt, items, max_workers=workers, desc=description, unit="image"))


def refuse_failures(results: Sequence[Result | DataError], prefix: str = "") -> list[Result]:
    """Returns what :func:`map_files` returned, or raises a ``DataError`` that names what failed after ``prefix``."""
    failures = sorted(str(result) for result in results if isinstance(result, DataError))
    if failures:
        listed = "\n".join(f"  {failure}" for failure in failures[:_MOST_LISTED])
        raise DataError(f"{prefix}{len(failures)} of {len(results)} images could not be used:\n{listed}")
    return [result for result in results if not isinstance(result, DataError)]


def run_command(action: Callable[[], int | None]) -> int:
    """Runs a step of which a second run goes on where the first one ended.

    Args:
        action: The step.

    Returns:
        What ``action`` returns; 0 for None.

    Raises:
        TrainingError: For a disk that is full, and other states of the machine in which nothing can be written.
        DataError: For a file or folder that cannot be read or written for another reason.
        KeyboardInterrupt: After Ctrl-C, with a text that says how to go on.
    """
    try:
        return action() or 0
    except OSError as error:
        raise explain_machine(error) or DataError(f"{error}; fix this and run the same command again") from error
    except KeyboardInterrupt:
        raise KeyboardInterrupt("Interrupted; run the same command again to go on.") from None
