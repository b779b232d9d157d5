"""Options of the campaign, its figures at the end, and what its cases share."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from campaign_plan import COLUMNS, Plan, Tally

_TALLIES: list[Tally] = []


@pytest.fixture(scope="session")
def plan(request: pytest.FixtureRequest) -> Plan:
    """How much of the campaign to run, and from which seed."""
    return Plan(request.config.getoption("--campaign-share"), request.config.getoption("--campaign-seed"))


@pytest.fixture
def tally(request: pytest.FixtureRequest) -> Iterator[Callable[[str], Tally]]:
    """Makes the counts of one kind of case; those of every kind are shown when all tests are done."""

    def make(kind: str) -> Tally:
        _TALLIES.append(Tally(kind, Counter(), []))
        return _TALLIES[-1]

    yield make


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Prints the table of all kinds, and writes it where ``--campaign-report`` says."""
    if not _TALLIES:
        return
    terminalreporter.section("campaign")
    terminalreporter.write_line("| kind | " + " | ".join(COLUMNS) + " |")
    terminalreporter.write_line("|---|" + "---:|" * len(COLUMNS))
    for tally in _TALLIES:
        terminalreporter.write_line(tally.as_row())
    report = config.getoption("--campaign-report")
    if report:
        rows = [{"kind": tally.kind, **tally.figures(), "losses": tally.losses} for tally in _TALLIES]
        Path(report).write_text(json.dumps(rows, indent=1) + "\n")
