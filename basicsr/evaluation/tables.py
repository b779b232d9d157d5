"""Results as text tables, CSV and JSON; numbers that do not exist are empty cells and JSON nulls."""

from __future__ import annotations

import csv
import math
import os
from collections.abc import Mapping, Sequence
from operator import methodcaller

from pydantic_core import to_jsonable_python

from basicsr.utils.atomic import atomic_path, atomic_write_json


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Lays out a table for a terminal: first column to the left, the others to the right.

    Args:
        header: Column titles.
        rows: Cells, see :func:`format_cell`.
    """
    cells = [list(header), *([format_cell(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells)]
    lines = []
    for first, *others in cells:
        padded = [first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _is_undefined(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def format_cell(cell: object) -> str:
    """A cell of a table: floats have four significant digits, undefined ones are a dash, infinite ones ``inf``."""
    if _is_undefined(cell):
        return "–"
    return f"{cell:.4g}" if isinstance(cell, float) else str(cell)


def write_csv(header: Sequence[str], rows: Sequence[Sequence[object]], path: str | os.PathLike[str]) -> None:
    """Writes a CSV file; floats keep full precision, undefined ones become empty cells."""
    with atomic_path(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        lines = (["" if _is_undefined(cell) else cell for cell in row] for row in (header, *rows))
        csv.writer(file, lineterminator="\n").writerows(lines)


def write_json(obj: Mapping[str, object], path: str | os.PathLike[str]) -> None:
    """Writes a JSON file; data classes become objects, arrays and tensors lists, non-finite numbers null."""
    atomic_write_json(to_jsonable_python(obj, inf_nan_mode="null", fallback=methodcaller("tolist")), path)
