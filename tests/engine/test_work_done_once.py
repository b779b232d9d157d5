"""What a start does once: each network is built, each data folder is listed, the option file is validated."""

from __future__ import annotations

import functools
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from tiny_run import write_options

from basicsr.archs import MSRResNet, UNetDiscriminatorSN
from basicsr.data import PairedImageDataset
from basicsr.options import parse as option_parsing
from basicsr.train import train_pipeline


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    counted: Counter[str] = Counter()

    def count(holder: Any, name: str, label: str, unbind: bool = False) -> None:
        original = getattr(holder, name)

        @functools.wraps(original)
        def counting(*args: Any, **kwargs: Any) -> Any:
            counted[label] += 1
            return original(*args[1:] if unbind else args, **kwargs)

        monkeypatch.setattr(holder, name, classmethod(counting) if unbind else counting)

    count(MSRResNet, "__init__", "generator")
    count(UNetDiscriminatorSN, "__init__", "critic")
    count(option_parsing, "validate_options", "validation")
    count(PairedImageDataset, "list_entries", "listing", unbind=True)
    return counted


def test_a_training_builds_lists_and_validates_once(tmp_path: Path, calls: Counter[str]) -> None:
    train_pipeline(tmp_path, ["-opt", str(write_options(tmp_path)), "--force_yml", "train:total_iter=2"])
    assert calls == {"generator": 1, "critic": 1, "validation": 1, "listing": 2}  # a training and a validation set


def test_a_check_builds_once_too(tmp_path: Path, calls: Counter[str]) -> None:
    train_pipeline(tmp_path, ["-opt", str(write_options(tmp_path)), "--check"])
    assert calls == {"generator": 1, "critic": 1, "validation": 1, "listing": 2}
