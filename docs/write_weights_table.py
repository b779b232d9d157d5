#!/usr/bin/env python3
"""Renews the table of known weights in ``docs/weights.md``: ``python docs/write_weights_table.py``."""

from __future__ import annotations

from pathlib import Path

from basicsr.weights.obtaining import Published
from basicsr.weights.published import list_known

PAGE = Path(__file__).parent / "weights.md"
BEGIN, END = "<!-- table of published weights -->\n", "<!-- end of the table -->\n"


def build_table() -> str:
    """The table in Markdown, a row for each name."""
    rows = [
        "| name | network | scale | size | SHA-256 begins with | licence | published by | file | checked here |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for entry in list_known().values():
        size = f"{entry.size / 2**20:.0f} MB" if entry.size else "–"
        digest = f"`{entry.digest}`" if entry.digest else "–"
        scale = f"×{entry.scale}" if entry.scale else "critic" if entry.network else "–"
        cells = [f"`{entry.name}`", _describe(entry), scale, size, digest, entry.licence, entry.source]
        rows.append(f"| {' | '.join([*cells, _place(entry), entry.evidence])} |")
    return "\n".join(rows) + "\n"


def _describe(entry: Published) -> str:
    if not entry.network:
        return entry.purpose
    sizes = [f"{key} {value}" for key, value in entry.network.items() if key not in ("type", "scale", "upscale")]
    return f"{entry.network['type']}: {', '.join(sizes)}"


def _place(entry: Published) -> str:
    if entry.url:
        return f"[{entry.file}]({entry.url})"
    return f"`{entry.file}`: for browsers only, from [this page]({entry.page})" if entry.page else entry.remedy


def renew(text: str) -> str:
    """A page with the table as it is today."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + build_table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
