#!/usr/bin/env python3
"""The rooms of the package and the imports between them, read from the code: ``python docs/draw_architecture.py``.

``tests/test_architecture.py`` uses the same scanner. Everything is parsed and nothing imported, so imports inside
functions, under ``TYPE_CHECKING`` and by name (``import_module("basicsr.x")``) count like all others.
"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENTRY, GROUND = "entry points", "utils"

ROOMS = (
    ENTRY,
    "engine",
    "analysis",
    "preparation",
    "options",
    "models",
    "evaluation",
    "adversarial",
    "data",
    "degradation",
    "losses",
    "metrics",
    "archs",
    "spectral",
    GROUND,
)
"""From the top of the house down, and from left to right where a floor has several: a room imports only later ones."""


@dataclass(frozen=True)
class Arrow:
    """One import of a module by another.

    Attributes:
        source: Importing module, such as ``basicsr.data.loader``.
        line: Line of the import in the source's file.
        target: Imported module.
    """

    source: str
    line: int
    target: str

    def __str__(self) -> str:
        return f"{self.source}, line {self.line}: imports {self.target}"


class House:
    """A package as rooms, modules and imports.

    Args:
        package: Folder of the package.
    """

    def __init__(self, package: Path = ROOT / "basicsr") -> None:
        self.name = package.name
        self.files = {self._module_of(file.relative_to(package.parent)): file for file in package.rglob("*.py")}
        texts = {module: file.read_text(encoding="utf-8") for module, file in sorted(self.files.items())}
        trees = {module: ast.parse(text) for module, text in texts.items()}
        self.lines: Counter[str] = Counter()
        for module, text in texts.items():
            self.lines[self.room_of(module)] += len(text.splitlines())
        self.reexports = {
            module
            for module, tree in trees.items()
            if self.files[module].name != "__init__.py" and _holds_only_reexports(tree)
        }
        self._direct = {module: list(self._read_imports(module, tree)) for module, tree in trees.items()}
        self.arrows = [
            Arrow(module, line, target)
            for module, imports in self._direct.items()
            if module not in self.reexports
            for line, imported in imports
            for target in self._look_through(imported, {module})
        ]

    def room_of(self, module: str) -> str:
        """The room of a module: its folder; commands are entry points, and the package itself is part of the ground."""
        parts = module.split(".")
        if module in (self.name, f"{self.name}.version"):
            return GROUND
        return parts[1] if (self.files[module].parent.name != self.name) else ENTRY

    def between_rooms(self) -> Counter[tuple[str, str]]:
        """How many imports there are from one room to another."""
        pairs = ((self.room_of(arrow.source), self.room_of(arrow.target)) for arrow in self.arrows)
        return Counter(pair for pair in pairs if pair[0] != pair[1])

    def upward_arrows(self) -> list[Arrow]:
        """Imports of a room that stands higher, or further left on the same floor."""
        return [
            arrow
            for arrow in self.arrows
            if ROOMS.index(self.room_of(arrow.source)) > ROOMS.index(self.room_of(arrow.target))
        ]

    def circles(self) -> list[list[str]]:
        """The shortest circle through each room that has one, as rooms in the order of import, each circle once."""
        pairs = self.between_rooms()
        found: dict[frozenset[str], list[str]] = {}
        for start in ROOMS:
            paths = [[start]]
            seen: set[str] = set()
            while paths:
                path = paths.pop(0)
                for source, target in pairs:
                    if source == path[-1] and target == start:
                        found.setdefault(frozenset(path), [*path, start])
                        paths = []
                        break
                    if source == path[-1] and target not in seen:
                        seen.add(target)
                        paths.append([*path, target])
        return list(found.values())

    def _module_of(self, file: Path) -> str:
        parts = file.with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    def _look_through(self, module: str, seen: set[str]) -> Iterator[str]:
        # Whoever imports a published path imports what stands behind it.
        if module not in self.reexports:
            yield module
            return
        for _, target in self._direct[module]:
            if target not in seen:
                yield from self._look_through(target, seen | {target})

    def _read_imports(self, module: str, tree: ast.Module) -> Iterator[tuple[int, str]]:
        by_name = False
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from self._known(node.lineno, alias.name)
            elif isinstance(node, ast.ImportFrom):
                origin = self._origin(module, node)
                for alias in node.names:
                    inner = f"{origin}.{alias.name}"
                    yield from self._known(node.lineno, inner if inner in self.files else origin)
            elif isinstance(node, ast.Call) and _called_name(node) in ("import_module", "resolve_name", "__import__"):
                by_name = True
        if by_name:
            yield from self._read_names(tree)

    def _read_names(self, tree: ast.Module) -> Iterator[tuple[int, str]]:
        # A name can be put together ("basicsr.{room}"), so strings without the package's name count too; a single
        # word only in a table of the module, since functions speak of "train" and "data" as options.
        for statement in tree.body:
            is_table = isinstance(statement, (ast.Assign, ast.AnnAssign))
            for node in ast.walk(statement):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    name = node.value.partition(":")[0]
                    if is_table or "." in name:
                        yield from self._known(node.lineno, name)
                        yield from self._known(node.lineno, f"{self.name}.{name}")

    def _origin(self, module: str, node: ast.ImportFrom) -> str:
        if not node.level:
            return node.module or ""
        is_package = self.files[module].name == "__init__.py"
        parts = module.split(".")
        base = parts[: len(parts) - node.level + is_package]
        return ".".join([*base, *([node.module] if node.module else [])])

    def _known(self, line: int, name: str) -> Iterator[tuple[int, str]]:
        if name in self.files:
            yield line, name


def _called_name(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def _holds_only_reexports(tree: ast.Module) -> bool:
    """Whether a module is a docstring, imports of names and perhaps ``__all__``, and nothing else."""
    kinds = [_kind(node) for node in tree.body]
    return kinds[:1] == ["docstring"] and set(kinds[1:]) <= {"import", "all"} and "import" in kinds


def _kind(node: ast.stmt) -> str:
    if isinstance(node, ast.ImportFrom):
        return "import"
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
        return "docstring"
    if isinstance(node, ast.Assign) and [getattr(name, "id", "") for name in node.targets] == ["__all__"]:
        return "all"
    return "code"
