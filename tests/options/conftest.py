from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def toys_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Only the toys are registered for sure, ToyModel counts as our own, and the working folder is an empty one."""
    from option_toys import ToyModel, ToySecondOrderModel

    for model in (ToyModel, ToySecondOrderModel):
        monkeypatch.setattr(model, "__module__", "basicsr.models.toy_model")
    monkeypatch.setattr("basicsr.options.validate.fill_registries", lambda: None)
    monkeypatch.chdir(tmp_path)
    return tmp_path
