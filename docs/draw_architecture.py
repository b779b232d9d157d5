#!/usr/bin/env python3
"""The rooms of the package and the imports between them, read from the code: ``python docs/draw_architecture.py``.

``tests/test_architecture.py`` uses the same scanner. Everything is parsed and nothing imported, so imports inside
functions, under ``TYPE_CHECKING`` and by name (``import_module("basicsr.x")``) count like all others.
"""

from __future__ import annotations

import argparse
import ast
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
ENTRY, GROUND = "entry points", "utils"

FLOORS = (
    {ENTRY: 47},
    {"engine": 11, "starting": 29.5, "exporting": 45, "upscaling": 65, "analysis": 88},
    {"reporting": 30},
    {"preparation": 11, "options": 49},
    {"models": 44},
    {"evaluation": 42, "adversarial": 65},
    {"data": 10, "degradation": 29, "losses": 48, "metrics": 64, "archs": 84},
    {"weights": 36, "spectral": 71, "processing": 88},
    {GROUND: 50},
)
"""The house from the top down, from left to right; numbers are the middles of rooms in the picture, of 100."""

ROOMS = tuple(room for floor in FLOORS for room in floor)
"""Rooms in the order of imports: a room imports only later ones."""


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


WIDTH, HEIGHT, FLOOR = 3.9, 1.2, 12.0
"""Width and height of a room per square root of 100 lines, and distance of floors; a floor is 100 wide."""

MARGIN = 1.6
"""Least distance of an arrow from a room that it passes, and of two arrows that pass it on the same side."""

COLORS = ("#4c566a", "#b4483c", "#2a78a8", "#5b8c3e", "#8a5aa8", "#c07a1e", "#2f8f83", "#a8447c")

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A room in the picture: its floor from the top, middle, size and colour."""

    level: int
    x: float
    y: float
    width: float
    height: float
    color: str


class Picture:
    """Rooms as boxes on floors and the imports between them as arrows.

    Args:
        house: Rooms and imports; those of the ground get no arrows, for every room has them.
    """

    def __init__(self, house: House) -> None:
        self.boxes: dict[str, Box] = {}
        for level, floor in enumerate(FLOORS):
            for room, x in floor.items():
                root = (house.lines[room] / 100) ** 0.5
                width, height = WIDTH * root, HEIGHT * root
                if room == GROUND:  # lies under all others, with the area that its lines give it
                    width, height = 96, width * height / 96
                color = COLORS[len(self.boxes) % len(COLORS)]
                self.boxes[room] = Box(level, x, -level * FLOOR, width, height, color)
        self.lines = house.lines
        self.arrows = {pair: count for pair, count in house.between_rooms().items() if GROUND not in pair}
        self._passing: Counter[tuple[int, float]] = Counter()

    def save(self, path: Path) -> None:
        """Draws the picture into a PNG file."""
        import matplotlib

        matplotlib.use("Agg")
        import matplotlib.pyplot as plt
        from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
        from matplotlib.path import Path as Curve

        bottom = -(len(FLOORS) - 1) * FLOOR
        figure, axes = plt.subplots(figsize=(11, 9))
        axes.set(xlim=(0, 100), ylim=(bottom - 5, 4))
        axes.axis("off")
        for room, box in self.boxes.items():
            corner = (box.x - box.width / 2, box.y - box.height / 2)
            style = "round,pad=0,rounding_size=0.5"
            axes.add_patch(FancyBboxPatch(corner, box.width, box.height, style, fc=box.color, ec="none", zorder=3))
            size = f"{self.lines[room]:,} lines"
            words: dict[str, Any] = {"ha": "center", "va": "center", "color": "white", "zorder": 4}
            if box.height > 3:
                axes.text(box.x, box.y + 0.8, room, weight="bold", size=9.5, **words)
                axes.text(box.x, box.y - 0.9, size, size=8.5, **words)
            elif box.width > 20:
                axes.text(box.x, box.y - 0.1, f"{room}: {size}", weight="bold", size=10, **words)
            else:
                words |= {"ha": "left", "color": box.color}
                axes.text(box.x + box.width / 2 + 1, box.y, f"{room}: {size}", weight="bold", size=10, **words)
        for source, target in sorted(self.arrows, key=lambda pair: (ROOMS.index(pair[0]), ROOMS.index(pair[1]))):
            points, codes = self._curve(source, target)
            arrow = FancyArrowPatch(
                path=Curve(points, codes),
                arrowstyle="-|>,head_length=5,head_width=2.5",
                color=self.boxes[source].color,
                lw=0.7 + 0.45 * self.arrows[source, target] ** 0.5,
                zorder=2,
                shrinkA=0,
                shrinkB=0,
            )
            axes.add_patch(arrow)
        note = (
            "Area of a room: its lines. Arrows: imports, in the colour of the importing room. Every room imports utils."
        )
        axes.text(50, bottom - 4, note, ha="center", size=9.5, color="#444444")
        figure.savefig(path, dpi=130, bbox_inches="tight", facecolor="white")
        plt.close(figure)

    def _curve(self, source: str, target: str) -> tuple[list[Point], list[int]]:
        """A smooth line from room to room as the points and codes of a matplotlib path."""
        one, other = self.boxes[source], self.boxes[target]
        if one.level == other.level:
            if not any(box.level == one.level and one.x < box.x < other.x for box in self.boxes.values()):
                return [(one.x + one.width / 2, one.y), (other.x - other.width / 2, other.y)], [1, 2]
            # Under the rooms between the two.
            start = (one.x + one.width * 0.3, one.y - one.height / 2)
            end = (other.x - other.width * 0.3, other.y - other.height / 2)
            dip = one.y - 0.45 * FLOOR
            return [start, (start[0] + 4, dip), (end[0] - 4, dip), end], [1, 4, 4, 4]
        start, end = self._end(source, target, source), self._end(source, target, target)
        stops = [start]
        for level in range(one.level + 1, other.level):
            y = -level * FLOOR
            stops.append(
                (self._find_gap(level, start[0] + (end[0] - start[0]) * (start[1] - y) / (start[1] - end[1])), y)
            )
        points, codes = [start], [1]
        for (x, y), (next_x, next_y) in zip(stops, [*stops[1:], end]):
            bend = 0.5 * (y - next_y)
            points += [(x, y - bend), (next_x, next_y + bend), (next_x, next_y)]
            codes += [4, 4, 4]
        return points, codes

    def _find_gap(self, level: int, x: float) -> float:
        """The place nearest to ``x`` where an arrow can pass a floor."""
        for box in self.boxes.values():
            room = box.width / 2 + MARGIN
            if box.level == level and abs(x - box.x) < room + MARGIN:
                edge = box.x + (room if x >= box.x else -room)
                self._passing[level, edge] += 1
                return edge + (self._passing[level, edge] - 1) * MARGIN * (1 if x >= box.x else -1)
        return x

    def _end(self, source: str, target: str, room: str) -> Point:
        """Where an arrow leaves or enters a room: arrows stand apart, in the order of their other ends."""
        box, is_source = self.boxes[room], room == source
        others = [pair[is_source] for pair in self.arrows if pair[not is_source] == room]
        others = sorted(
            (name for name in others if self.boxes[name].level != box.level), key=lambda name: self.boxes[name].x
        )
        place = (others.index(target if is_source else source) + 0.5) / len(others) - 0.5
        return box.x + 0.84 * place * box.width, box.y + (-0.5 if is_source else 0.5) * box.height


def main() -> None:
    """Draws the picture of the documentation."""
    parser = argparse.ArgumentParser(description="Draw the rooms of the package and the imports between them.")
    parser.add_argument("--output", type=Path, default=ROOT / "figures/architecture.png", help="PNG file")
    args = parser.parse_args()
    Picture(House()).save(args.output)


if __name__ == "__main__":
    main()
