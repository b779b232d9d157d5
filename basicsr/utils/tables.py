"""Results as text tables, CSV and JSON; numbers that do not exist are empty cells and JSON nulls."""

from __future__ import annotations

import csv
import io
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from basicsr.utils.atomic import atomic_write_json, atomic_write_text


def format_table(header: Sequence[str], rows: Sequence[Sequence[object]], digits: int = 4) -> str:
    """Lays out a table for a terminal: first column to the left, the others to the right.

    Args:
        header: Column titles.
        rows: Cells; floats are shown with ``digits`` significant digits, undefined ones as a dash.
        digits: Significant digits.
    """
    cells = [list(header), *([_format_cell(cell, digits) for cell in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    lines = []
    for row in cells:
        padded = [cell.rjust(width) for cell, width in zip(row, widths)]
        padded[0] = row[0].ljust(widths[0])
        lines.append("  ".join(padded).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _format_cell(cell: object, digits: int) -> str:
    if cell is None or (isinstance(cell, float) and not math.isfinite(cell)):
        return "–"
    return f"{cell:.{digits}g}" if isinstance(cell, float) else str(cell)


def write_csv(header: Sequence[str], rows: Sequence[Sequence[object]], path: str | os.PathLike[str]) -> None:
    """Writes a CSV file; floats keep full precision, undefined ones become empty cells."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    for row in rows:
        writer.writerow(["" if isinstance(cell, float) and not math.isfinite(cell) else cell for cell in row])
    atomic_write_text(text.getvalue(), path)


def write_json(obj: Mapping[str, Any], path: str | os.PathLike[str]) -> None:
    """Writes a JSON file; arrays and tensors become lists, non-finite numbers null."""
    atomic_write_json(_to_plain(obj), path)


def _to_plain(obj: Any) -> Any:
    if isinstance(obj, Mapping):
        return {str(key): _to_plain(value) for key, value in obj.items()}
    if isinstance(obj, (np.ndarray, Tensor)):
        return _to_plain(obj.tolist())
    if isinstance(obj, (list, tuple)):
        return [_to_plain(value) for value in obj]
    if isinstance(obj, (float, np.floating)):
        return float(obj) if math.isfinite(obj) else None
    if isinstance(obj, np.integer):
        return int(obj)
    return obj
