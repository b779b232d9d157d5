#!/usr/bin/env python3
"""Renews the table of commands in ``docs/commands.md``: ``python docs/write_commands.py``."""

from __future__ import annotations

from pathlib import Path

from basicsr.commands import COMMANDS, GROUPS

PAGE = Path(__file__).parent / "commands.md"
BEGIN, END = "<!-- table of commands -->\n", "<!-- end of the table -->\n"


def build_table() -> str:
    """The table in Markdown, a row for each command, by group."""
    rows = ["| | command | what it does | for example |", "|---|---|---|---|"]
    for group in GROUPS:
        listed = [(name, command) for name, command in COMMANDS.items() if command.group == group]
        for index, (name, command) in enumerate(listed):
            head = group if index == 0 else ""
            rows.append(f"| {head} | `basicsr {name}` | {command.summary} | `{command.example}` |")
    return "\n".join(rows) + "\n"


def renew(text: str) -> str:
    """A page with the table as it is today."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + build_table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(renew(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
