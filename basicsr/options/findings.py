"""Findings of validation: mistakes, files that are not there, and notices, each at its place in the file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from basicsr.models.presets import Translation
from basicsr.options.load import LoadedOptions
from basicsr.utils.errors import OptionsError, Problem
from basicsr.utils.fields import join_path


class MissingFilesError(OptionsError):
    """The options are right, but data or weights that they name are not there."""

    exit_code = 3


@dataclass
class Findings(Translation):
    """Everything found in one option file, by its place in the file.

    Attributes:
        missing: Data and weights that are not there; the file may be right all the same.
        fetched: Weights that are not there and that a run fetches.
    """

    missing: list[Problem] = field(default_factory=list)
    fetched: list[Problem] = field(default_factory=list)

    def add(self, problems: Iterable[Problem]) -> None:
        """Takes mistakes by their place in today's form, unless what they are about is known to be wrong already."""
        for problem in problems:
            path = self.locate(problem.path)
            if not self.is_broken(problem.path) and not self.has_problem_at(path, inside=True):
                self.problems.append(replace(problem, path=path))

    def has_problem_at(self, path: str, inside: bool = False) -> bool:
        """Whether there is a mistake at a path already, or anywhere inside of it."""
        return any(p.path == path or (inside and p.path.startswith(f"{path}.")) for p in self.problems)

    def sort(self, loaded: LoadedOptions) -> None:
        """Puts everything in file order, one finding per place and message, and adds where it stands."""
        order = {path: index for index, path in enumerate(_walk(loaded.data))}

        def nearest(path: str, known: Mapping[str, Any]) -> str:
            while path and path not in known:
                path = path.rpartition(".")[0]
            return path

        for name in ("problems", "missing", "fetched", "notices"):
            found = sorted(
                dict.fromkeys(getattr(self, name)), key=lambda p: order.get(nearest(p.path, order), len(order))
            )
            placed = [replace(p, place=p.place or loaded.places.get(nearest(p.path, loaded.places), "")) for p in found]
            setattr(self, name, placed)

    def raise_if_any(self, source: str | None = None, ignore_missing: bool = False) -> None:
        """Raises what was found, all at once.

        Args:
            source: The option file, for the message.
            ignore_missing: Whether files that are not there are no reason.

        Raises:
            OptionsError: If there is a mistake; files that are not there are listed after the mistakes, and then what a
                run would fetch.
            MissingFilesError: If files are missing and nothing else is wrong.
        """
        missing = [*self.missing, *self.fetched] if self.missing and not ignore_missing else []
        if self.problems:
            raise OptionsError([*self.problems, *missing], source)
        if missing:
            raise MissingFilesError(missing, source)


def _walk(data: Any, path: str = "") -> Iterator[str]:
    """Dotted paths of everything in nested data, in order."""
    if isinstance(data, (list, tuple)):
        data = dict(enumerate(data))
    for key, value in data.items() if isinstance(data, Mapping) else ():
        inner = join_path(path, key)
        yield inner
        yield from _walk(value, inner)
