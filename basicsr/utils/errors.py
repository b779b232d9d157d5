"""Errors that tell a user what to change.

Every error that a user can cause derives from :class:`UserError`. The command line prints its message without a
traceback and exits with its ``exit_code``; library callers catch it as the ``ValueError`` that it is.
"""

from __future__ import annotations

import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

MAX_NAME_BYTES = 200
"""File systems take 255, of which times, iterations and endings need some."""


class UserError(ValueError):
    """A mistake that the user can fix; the message names the file, option or shape, and what to do.

    Attributes:
        exit_code: That of a command that ends so: of wrong options, unless a class says otherwise. No error that a user
            must act on has 1, the code of defects, with which a launcher tries again.
    """

    exit_code = 2


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


def check_positive(**values: int) -> None:
    """Raises ArgumentError unless every keyword is an integer of at least 1; the keyword is the argument's name."""
    for name, value in values.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < 1:
            raise ArgumentError(name, f"{name} must be a positive integer, got {value!r}")


def check_rate(**values: float) -> None:
    """Raises ArgumentError unless every keyword is a probability ``0 <= p < 1``."""
    for name, value in values.items():
        if not 0 <= value < 1:
            raise ArgumentError(name, f"{name} must be at least 0 and less than 1, got {value!r}")


def check_choice(name: str, value: object, choices: Iterable[object]) -> None:
    """Raises ArgumentError unless ``value``, given for the argument ``name``, is one of ``choices``."""
    known = tuple(choices)
    if value not in known:
        raise ArgumentError(name, f"{name} must be one of {', '.join(map(str, known))}; got {value!r}")


def check_file_name(name: str) -> str:
    """Returns a text that files or folders can be named by, so that they stay where they are put.

    Raises:
        ValueError: If it is empty, ``.`` or ``..``, has a separator of paths in it, or is too long for a file system.
    """
    if name.strip() in ("", ".", "..") or any(mark in name for mark in "/\\\0"):
        raise ValueError(f"{name!r} cannot name a file or folder; use a word without slashes")
    if len(name.encode()) > MAX_NAME_BYTES:
        raise ValueError(f"has {len(name.encode())} bytes; a file or folder is named by it, so take {MAX_NAME_BYTES}")
    return name


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

    def __init__(self, problems: Iterable[Problem], source: str | None = None) -> None:
        self.problems = list(problems)
        found = count(len(self.problems), "problem")
        head = f"{found} in {source}:" if source else f"{found}:"
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


_REMEDIES = {
    "ENOSPC": "make room, then {again}",
    "EDQUOT": "make room, then {again}",
    "EFBIG": "raise the limit (ulimit -f), or write to another file system",
    "EROFS": "make it writable, then {again}",
    "EACCES": "allow it, or choose another folder",
    "EPERM": "allow it, or choose another folder",
    "EMFILE": "raise the limit (ulimit -n), or lower the number of processes or threads that load images",
    "ENFILE": "close what holds files open, then {again}",
}
"""What to do about the states of a machine in which nothing can be written, by the names of :mod:`errno`."""

REPEAT = "run the same command again"


def find_remedy(error: BaseException, again: str = REPEAT) -> str | None:
    """What to do about a state of the machine in which nothing can be written; ``None`` for other errors."""
    number = error.errno if isinstance(error, OSError) else None
    remedy = _REMEDIES.get(errno.errorcode.get(number or 0, ""))
    return None if remedy is None else remedy.format(again=again)


def explain_machine(error: OSError, again: str = REPEAT) -> TrainingError | None:
    """The error in words, if the machine's state is its reason: a full or read-only disk, a limit; else ``None``.

    Args:
        error: The error.
        again: How the command that has failed goes on.
    """
    advice = find_remedy(error, again)
    if advice is None:
        return None
    what = error.filename or "a file"
    return TrainingError(f"{what} cannot be written: {error.strerror}; {advice}. What was written before is kept")


_OUT_OF_MEMORY = ("out of memory", "can't allocate memory", "not enough memory", "DefaultCPUAllocator")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory has run out, of the host or of a GPU."""
    import torch  # where there is an error, it is loaded

    says_so = isinstance(error, RuntimeError) and any(text in str(error) for text in _OUT_OF_MEMORY)
    return says_so or isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))


def count(number: int, noun: str) -> str:
    """``1 image`` or ``2 images``; thousands have commas."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its class where it has none: PyTorch's messages are pages long."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def name_some(names: Sequence[object], most: int = 5, separator: str = ", ") -> str:
    """The first ``most`` names, and how many more there are; ``separator`` may be the end of a line."""
    more = len(names) - most
    text = separator.join(map(str, names[:most]))
    return f"{text}{' ' if separator == ', ' else separator}and {more} more" if more > 0 else text
