"""Tables as text, Markdown, LaTeX, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

from basicsr.evaluation.tables import format_cell, format_table

Cell = str | float | int | None

_MARKDOWN = {ord(mark): f"\\{mark}" for mark in "\\|*_<`"} | {ord("\n"): " "}

_LATEX = {ord(mark): f"\\{mark}" for mark in "&%$#_{}"} | {
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
    ord("<"): r"\textless{}",
    ord(">"): r"\textgreater{}",
    ord("↑"): r"$\uparrow$",
    ord("↓"): r"$\downarrow$",
    ord("×"): r"$\times$",
    ord("–"): "--",
    ord("\n"): " ",
}


@dataclass
class Table:
    """A table.

    Attributes:
        header: Titles of the columns.
        rows: Cells; ``None`` and what is not a number are undefined.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]

    def render(self, form: str) -> str:
        """The table as ``text``, ``markdown``, ``latex``, ``csv`` or ``json``."""
        if form == "text":
            return format_table(self.header, self.rows)
        if form == "csv":
            text = io.StringIO()
            plain = [["" if _plain(cell) is None else cell for cell in row] for row in self.rows]
            csv.writer(text, lineterminator="\n").writerows([self.header, *plain])
            return text.getvalue().rstrip("\n")
        if form == "json":
            entries = [dict(zip(self.header, map(_plain, row))) for row in self.rows]
            return json.dumps(entries, indent=2, ensure_ascii=False, allow_nan=False)
        head, lines, foot = self.source(form)
        return "\n".join([*head, *lines, *foot])

    def source(self, form: str) -> tuple[list[str], list[str], list[str]]:
        """The table in Markdown or LaTeX: what comes before the rows, a line for each row, what comes after them."""
        titles = [str(title) for title in self.header]
        numeric = [any(isinstance(row[index], (int, float)) for row in self.rows) for index in range(len(titles))]
        cells = [[format_cell(cell) for cell in row] for row in self.rows]
        if form == "markdown":
            rule = "|" + "|".join("--:" if is_number else "---" for is_number in numeric) + "|"
            return [_markdown(titles), rule], [_markdown(row) for row in cells], []
        columns = "".join("r" if is_number else "l" for is_number in numeric)
        head = [rf"\begin{{tabular}}{{{columns}}}", r"\hline", _latex(titles), r"\hline"]
        return head, [_latex(row) for row in cells], [r"\hline", r"\end{tabular}"]


def _plain(cell: Cell) -> Cell:
    return None if isinstance(cell, float) and not math.isfinite(cell) else cell


def _markdown(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.translate(_MARKDOWN) for cell in cells) + " |"


def _latex(cells: Sequence[str]) -> str:
    return " & ".join(cell.translate(_LATEX) for cell in cells) + r" \\"
