"""Runs one function over many files, with a progress bar."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from tqdm import tqdm

from basicsr.utils.arguments import available_cores
from basicsr.utils.errors import DataError

Item = TypeVar("Item")
Result = TypeVar("Result")


def default_workers() -> int:
    """One worker a core that this process may use, 16 at most."""
    return min(16, available_cores())


def map_files(
    function: Callable[[Item], Result], items: Sequence[Item], num_workers: int, description: str
) -> list[Result]:
    """Applies ``function`` to every item; images that cannot be used do not stop the others.

    Threads are enough: image decoding and encoding do not hold the interpreter.

    Args:
        function: Raises ``DataError`` for an image that cannot be used.
        items: What to work on.
        num_workers: Threads.
        description: For the progress bar.

    Returns:
        The results of the items that worked, in order.

    Raises:
        DataError: At the end, naming what did not work.
    """
    failures: list[str] = []

    def attempt(item: Item) -> tuple[bool, Result | None]:
        try:
            return True, function(item)
        except DataError as error:
            failures.append(str(error))
            logging.getLogger("basicsr").warning("%s", error)
            return False, None

    with ThreadPoolExecutor(max_workers=max(1, num_workers)) as pool:
        results = list(tqdm(pool.map(attempt, items), total=len(items), desc=description, unit="image"))
    if failures:
        listed = "\n".join(f"  {failure}" for failure in sorted(failures)[:20])
        raise DataError(f"{len(failures)} of {len(items)} images could not be used:\n{listed}")
    return [result for worked, result in results if worked]  # type: ignore[misc]
