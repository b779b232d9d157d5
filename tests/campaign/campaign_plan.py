"""How much of the campaign runs, and what came of it."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass

import numpy as np

COLUMNS = ("tried", "right", "named", "unnoticeable", "lost")
"""``right``: the result is what it would be without the fault. ``named``: one message names the file or option.

``unnoticeable``: other values were read from a format that has no checksum, such as a JPEG or a text. ``lost``: all
else: a traceback, a hang, an undocumented exit code, other values without a word.
"""


@dataclass(frozen=True)
class Plan:
    """The share of the campaign's cases that are run, and the seed that draws them."""

    share: float
    seed: int

    def draw(self, kind: str, whole: int) -> list[np.random.Generator]:
        """One random generator for each case of a kind; case ``i`` is the same whatever the share."""
        return [np.random.default_rng([self.seed, *kind.encode(), index]) for index in range(self.count(whole))]

    def count(self, whole: int) -> int:
        """How many of the ``whole`` campaign's cases of a kind are run."""
        return math.ceil(self.share * whole)

    def order(self, kind: str, count: int) -> list[int]:
        """An order of ``count`` known cases of a kind."""
        return [int(index) for index in np.random.default_rng([self.seed, *kind.encode()]).permutation(count)]


@dataclass
class Tally:
    """What came of the cases of one kind."""

    kind: str
    counts: Counter[str]
    losses: list[str]

    def add(self, outcome: str) -> None:
        """Counts a case that was not lost: one of :data:`COLUMNS`."""
        self.counts[outcome] += 1

    def lose(self, label: str, why: str) -> None:
        """Counts a lost case, with what it takes to find it again."""
        self.counts["lost"] += 1
        self.losses.append(f"{label}: {why}")

    def figures(self) -> dict[str, int]:
        """The counts by column."""
        return {name: self.counts[name] if name != "tried" else self.counts.total() for name in COLUMNS}

    def as_row(self) -> str:
        """A row of a Markdown table."""
        return f"| {self.kind} | " + " | ".join(f"{number:,}" for number in self.figures().values()) + " |"

    def demand_none_lost(self) -> None:
        """Fails with every lost case."""
        assert self.counts.total(), f"no case of {self.kind} was tried"
        assert not self.losses, f"{len(self.losses)} of {self.kind} lost:\n" + "\n".join(self.losses)
