"""What validation finds: mistakes, files that are not there, and remarks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from basicsr.utils.errors import OptionsError, Problem


class MissingFilesError(OptionsError):
    """The options are right, but data or weights that they name are not there."""

    exit_code = 3


@dataclass
class Findings:
    """Everything found in one option file.

    Attributes:
        problems: Mistakes.
        missing: Data and weights that are not there; the file may be right all the same.
        notices: Keys that are accepted and have no effect.
    """

    problems: list[Problem] = field(default_factory=list)
    missing: list[Problem] = field(default_factory=list)
    notices: list[Problem] = field(default_factory=list)

    def blames(self, path: str, inside: bool = False) -> bool:
        """Whether there is a mistake at a path already, or anywhere inside of it."""
        return any(p.path == path or (inside and p.path.startswith(f"{path}.")) for p in self.problems)

    def sort(self, data: Mapping[str, Any], lines: Mapping[str, int]) -> None:
        """Puts everything in file order, one finding per place and message, and adds line numbers."""
        order = {path: index for index, path in enumerate(_walk(data))}

        def rank(problem: Problem) -> int:
            path = problem.path
            while path and path not in order:
                path = path.rpartition(".")[0]
            return order.get(path, len(order))

        for name in ("problems", "missing", "notices"):
            found = sorted(dict.fromkeys(getattr(self, name)), key=rank)
            setattr(self, name, [_with_line(problem, lines) for problem in found])

    def raise_if_any(self, source: str | None = None, ignore_missing: bool = False) -> None:
        """Raises what was found, all at once.

        Args:
            source: The option file, for the message.
            ignore_missing: Whether files that are not there are no reason.

        Raises:
            OptionsError: If there is a mistake; files that are not there are listed after the mistakes.
            MissingFilesError: If files are missing and nothing else is wrong.
        """
        missing = [] if ignore_missing else self.missing
        if self.problems:
            raise OptionsError([*self.problems, *missing], source)
        if missing:
            raise MissingFilesError(missing, source)


def _with_line(problem: Problem, lines: Mapping[str, int]) -> Problem:
    path = problem.path
    line = lines.get(path)
    if line is None or "line" in problem.message:
        return problem
    return Problem(path, f"{problem.message} (line {line})")


def _walk(data: Any, path: str = "") -> Iterable[str]:
    """Dotted paths of everything in nested data, in order."""
    if path:
        yield path
    items: Iterable[tuple[Any, Any]] = ()
    if isinstance(data, Mapping):
        items = data.items()
    elif isinstance(data, (list, tuple)):
        items = enumerate(data)
    for key, value in items:
        yield from _walk(value, f"{path}.{key}" if path else str(key))
