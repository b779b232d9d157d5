#!/usr/bin/env python3
"""Renews the table of published weights in ``docs/weights.md``: ``python docs/write_weights_table.py``."""

from __future__ import annotations

from pathlib import Path

from basicsr.weights.published import PUBLISHED

PAGE = Path(__file__).parent / "weights.md"
BEGIN, END = "<!-- table of published weights -->\n", "<!-- end of the table -->\n"


def build_table() -> str:
    """The table in Markdown, a row for each name."""
    rows = ["| name | network | scale | licence | published by | file |", "|---|---|---|---|---|---|"]
    for entry in PUBLISHED.values():
        sizes = [f"{key} {value}" for key, value in entry.network.items() if key not in ("type", "scale", "upscale")]
        network = f"{entry.network['type']}: {', '.join(sizes)}"
        file = f"[address]({entry.url})" if entry.url else "fetch it by hand"
        scale = f"×{entry.scale}" if entry.scale else "critic"
        rows.append(f"| `{entry.name}` | {network} | {scale} | {entry.licence} | {entry.source} | {file} |")
    return "\n".join(rows) + "\n"


def renew(text: str) -> str:
    """A page with the table as it is today."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + build_table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
