"""Errors that tell a user what to change.

Every error that a user can cause derives from :class:`UserError`. The command line prints its message without a
traceback and exits with its ``exit_code``; library callers catch it as the ``ValueError`` that it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


class UserError(ValueError):
    """A mistake that the user can fix; the message names the file, option or shape, and what to do."""

    exit_code = 1


class ArgumentError(ValueError):
    """A value that a constructor refuses.

    Args:
        argument: The constructor's parameter that it was given for; where several do not fit together, the one to
            change first. An option file's check reports the mistake at the key of this name.
        message: What was expected and what was found.
    """

    def __init__(self, argument: str, message: str) -> None:
        super().__init__(argument, message)
        self.argument = argument

    def __str__(self) -> str:
        return str(self.args[1])


@dataclass(frozen=True)
class Problem:
    """One mistake in an option file.

    Attributes:
        path: Where it is, as a dotted path in the file, e.g. ``train.optim_g.lr``.
        message: What was found, what was expected and, where there is one, the nearest valid name.
        place: The line of the file, or the flag, that says so; empty if that cannot be told.
    """

    path: str
    message: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.path}: {self.message}" + (f" ({self.place})" if self.place else "")

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
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        head = f"{count} in {source}:" if source else f"{count}:"
        super().__init__("\n  ".join([head, *map(str, self.problems)]))


class DataError(UserError):
    """A data file or folder that is missing, unreadable or does not fit."""

    exit_code = 3


class WeightsError(UserError):
    """A weights file or checkpoint that is missing, unreadable or does not fit the network."""

    exit_code = 3


class TrainingError(UserError):
    """Training cannot go on: non-finite losses, too many unreadable images, a full disk."""

    exit_code = 4


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class where it has none: PyTorch's messages are pages long."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
