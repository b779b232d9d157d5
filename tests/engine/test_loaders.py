"""What a training's loader gives: images as they are stored, where nobody else computes with them before the model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_run import write_options

from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.engine.loaders import build_training_batches
from basicsr.engine.training import seed_networks
from basicsr.models import build_model
from basicsr.models.checkpoint import Position
from basicsr.models.sr_model import SRModel
from basicsr.options import parse_options
from basicsr.utils.batch import to_floats
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY


@pytest.fixture
def opt(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    file = write_options(tmp_path)
    return parse_options(tmp_path, is_train=True, argv=["-opt", str(file)])[0]


def first_batch(opt: Any) -> dict[str, Any]:
    return dict(next(build_training_batches(opt).stream(Position()))[1])


def test_a_step_on_levels_is_that_on_floats(opt: Any) -> None:
    levels = first_batch(opt)
    assert levels["lq"].dtype == levels["gt"].dtype == torch.uint8
    floats = {key: to_floats(value) if isinstance(value, torch.Tensor) else value for key, value in levels.items()}
    assert 0 <= floats["gt"].min() < floats["gt"].max() <= 1
    states = []
    for batch in (levels, floats):
        seed_networks(opt)
        model = build_model(opt)
        model.begin_iteration(1)
        model.feed_data(batch)
        model.optimize_parameters(1)
        states.append(model.get_bare_model(model.net_g).state_dict())
    assert all(torch.equal(value, states[1][key]) for key, value in states[0].items())


def test_code_of_others_is_given_floats(opt: Any) -> None:
    @MODEL_REGISTRY.register()
    class ModelThatFeedsItself(SRModel):
        def feed_data(self, data: Any) -> None:
            super().feed_data(data)

    @DATASET_REGISTRY.register()
    class DataOfOthers(PairedImageDataset):
        pass

    DataOfOthers.__module__ = "theirs"
    block = {**opt["datasets"]["train"], "type": "DataOfOthers"}
    for changes in ({"model_type": "ModelThatFeedsItself"}, {"datasets": {"train": block}}):
        assert first_batch({**opt, **changes})["gt"].dtype == torch.float32
