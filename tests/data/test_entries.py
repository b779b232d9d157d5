"""Entries of data sets in one buffer behave as the list that they stand for."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from basicsr.data.entries import Entries

LISTED = [{"lq_path": f"lq/{'ü' * number}.png", "gt_path": f"gt/{number}.png"} for number in range(5)]


def test_read_as_a_list() -> None:
    entries = Entries(LISTED)
    assert len(entries) == 5
    assert list(entries) == LISTED
    assert entries == LISTED
    assert entries[-1] == entries[np.int64(4)] == LISTED[4]
    assert entries[1:4] == LISTED[1:4]
    assert entries + LISTED[:1] == LISTED + LISTED[:1]
    assert list(entries[2]) == ["lq_path", "gt_path"]
    with pytest.raises(IndexError):
        entries[5]
    assert pickle.loads(pickle.dumps(entries)) == LISTED
    assert list(Entries()) == []


def test_names_that_are_not_utf_8_are_kept() -> None:
    listed = [{"gt_path": "a\udcff.png"}]
    assert Entries(listed) == listed


def test_hold_one_number_for_each_text_beside_it() -> None:
    num_bytes = sum(len(text.encode()) for entry in LISTED for text in entry.values())
    assert Entries(LISTED).nbytes == num_bytes + 8 * (2 * 5 + 1)


def test_change_as_a_list() -> None:
    entries, listed = Entries(LISTED), list(LISTED)
    for one in (entries, listed):
        one[0], one[1] = one[1], one[0]
        del one[2]
        one.append({"gt_path": "alone"})
        one.sort(key=lambda entry: entry["gt_path"])
    assert entries == listed
    assert Entries([{"gt_path": "a"}, {"lq_path": "b"}])[1] == {"lq_path": "b"}
