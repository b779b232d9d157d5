"""Errors carry what a caller needs to say where a mistake is."""

from __future__ import annotations

import pickle

import pytest

from basicsr.utils.errors import ArgumentError, check_choice, check_positive, check_rate


def test_argument_errors_reach_other_processes_whole() -> None:
    error = pickle.loads(pickle.dumps(ArgumentError("img_size", "img_size must be even, got 3")))
    assert isinstance(error, ValueError)
    assert (error.argument, str(error)) == ("img_size", "img_size must be even, got 3")


def test_checks_name_the_argument_that_they_refuse() -> None:
    check_positive(depth=1, width=8)
    check_rate(dropout=0.0)
    check_choice("window", None, (None, "hann"))
    for check, argument in (
        (lambda: check_positive(depth=1, width=0), "width"),
        (lambda: check_positive(depth=True), "depth"),
        (lambda: check_rate(dropout=1.0), "dropout"),
        (lambda: check_choice("window", "hamming", (None, "hann")), "window"),
    ):
        with pytest.raises(ArgumentError, match=argument) as raised:
            check()
        assert raised.value.argument == argument
