"""Errors that tell a user what to change.

Every error that a user can cause derives from :class:`UserError`. The command line prints its message without a
traceback and exits with its ``exit_code``; library callers catch it as the ``ValueError`` that it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


class UserError(ValueError):
    """A mistake that the user can mend; the message names the file, option or shape, and what to do."""

    exit_code = 1


@dataclass(frozen=True)
class Problem:
    """One mistake in an option file.

    Attributes:
        path: Where it is, as a dotted path in the file or block, e.g. ``train.optim_g.lr``; empty: the whole of it.
        message: What was found, what was expected and, where there is one, the nearest valid name.
        place: The line of the file, or the flag, that says so; empty if that cannot be told.
    """

    path: str
    message: str
    place: str = ""

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return where + self.message + (f" ({self.place})" if self.place else "")

    def within(self, path: str) -> Problem:
        """The same mistake in a block that stands at ``path``."""
        return replace(self, path=f"{path}.{self.path}".strip("."))


class OptionsError(UserError):
    """All mistakes found in one option file.

    Args:
        problems: The mistakes, in file order.
        source: The option file (for the message), if there is one.
    """

    exit_code = 2

    def __init__(self, problems: Iterable[Problem], source: str | None = None) -> None:
        self.problems = list(problems)
        self.source = source
        where = f" in {source}" if source else ""
        count = len(self.problems)
        lines = [f"{count} problem{'s' if count != 1 else ''}{where}:"]
        lines += [f"  {problem}" for problem in self.problems]
        super().__init__("\n".join(lines))


class DataError(UserError):
    """A data file or folder that is missing, unreadable or does not fit."""

    exit_code = 3


class WeightsError(UserError):
    """A weights file or checkpoint that is missing, unreadable or does not fit the network."""

    exit_code = 3


class TrainingError(UserError):
    """Training cannot go on: non-finite losses, too many unreadable images, a full disk."""

    exit_code = 4
