"""Types that only a foreign class knows pass through to it where it builds such parts itself, and nowhere else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_run import write_options

from basicsr.models import build_model
from basicsr.models.base_model import BaseModel
from basicsr.models.sr_model import SRModel
from basicsr.models.srgan_model import SRGANModel
from basicsr.options.validate import validate_options
from basicsr.utils.errors import OptionsError, UserError
from basicsr.utils.frozen import freeze
from basicsr.utils.registry import MODEL_REGISTRY


class LionModel(SRGANModel):
    def get_optimizer(self, optim_type, params, lr, **kwargs):
        if optim_type == "Lion":
            assert kwargs.pop("cautious") is True
            return torch.optim.SGD(params, lr, **kwargs)
        return super().get_optimizer(optim_type, params, lr=lr, **kwargs)


class HalvingModel(SRModel):
    def setup_schedulers(self):
        assert self.opt["train"]["scheduler"].pop("type") == "Halving"
        halve = 0.5 ** (1 / self.opt["train"]["scheduler"]["period"])
        self.schedulers = [torch.optim.lr_scheduler.ExponentialLR(o, halve) for o in self.optimizers]


class OwnLossModel(SRGANModel):
    def init_training_settings(self):
        self.net_g.train()
        block = self.opt["train"]["pixel_opt"]
        assert block.pop("type") == "HeavyTail"
        self.cri_pix = lambda x, y: block["loss_weight"] * (x - y).abs().sqrt().mean()
        self.setup_optimizers()
        self.setup_schedulers()

    def setup_optimizers(self):
        self.optimizer_g = self.get_optimizer("Adam", self.net_g.parameters(), lr=1e-3)
        self.optimizers.append(self.optimizer_g)


class OwnNetworkModel(BaseModel):
    def __init__(self, opt):
        super().__init__(opt)
        assert opt["network_g"].pop("type") == "Line"
        self.net_g = torch.nn.Linear(**opt["network_g"])


class PlainModel(SRGANModel):
    """Builds nothing itself."""

    def __init__(self, opt):
        super().__init__(opt)

    def optimize_parameters(self, current_iter):
        pass


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """The classes of this module, for its tests alone."""
    classes = (LionModel, HalvingModel, OwnLossModel, OwnNetworkModel, PlainModel)
    monkeypatch.setattr(MODEL_REGISTRY, "_entries", {**MODEL_REGISTRY._entries, **{c.__name__: c for c in classes}})


BLOCKS: dict[str, tuple[str, dict[str, Any]]] = {
    "optimizer": ("train.optim_g", {"type": "Lion", "lr": 1e-3, "cautious": True}),
    "critic's optimizer": ("train.optim_d", {"type": "Lion", "lr": 1e-3, "cautious": True}),
    "scheduler": ("train.scheduler", {"type": "Halving", "period": 10}),
    "loss": ("train.pixel_opt", {"type": "HeavyTail", "loss_weight": 0.5}),
    "criterion": ("train.gan_opt", {"type": "HeavyTail", "loss_weight": 0.5}),
    "network": ("network_g", {"type": "Line", "in_features": 3, "out_features": 1}),
    "critic's network": ("network_d", {"type": "Line", "in_features": 3, "out_features": 1}),
}
PASSED = {
    "LionModel": {"optimizer", "critic's optimizer"},
    "HalvingModel": {"scheduler"},
    "OwnLossModel": {"optimizer", "critic's optimizer", "scheduler", "loss", "criterion", "critic's network"},
    "OwnNetworkModel": set(BLOCKS),
    "PlainModel": set(),
    "SRGANModel": set(),
}


def write(root: Path, model: str, *kinds: str) -> dict[str, Any]:
    options: dict[str, Any] = yaml.safe_load(write_options(root, model_type=model).read_text())
    for kind in kinds:
        path, block = BLOCKS[kind]
        *parents, key = path.split(".")
        (options[parents[0]] if parents else options)[key] = dict(block)
    return options


@pytest.mark.parametrize("kind", BLOCKS)
@pytest.mark.parametrize("model", PASSED)
def test_types_that_nobody_has_registered(model: str, kind: str, tmp_path: Path) -> None:
    path, block = BLOCKS[kind]
    _, found = validate_options(write(tmp_path, model, kind))
    problems = [problem for problem in found.problems if problem.path.startswith(path)]
    notices = [notice for notice in found.notices if notice.path == f"{path}.type"]
    if kind in PASSED[model]:
        assert not problems and not found.problems
        assert f"'{block['type']}'" in notices[0].message and f"left to {model}" in notices[0].message
    else:
        assert [p.path for p in problems] == [f"{path}.type"] and not notices
        assert f"'{block['type']}'; " in problems[0].message


def test_nearest_names_are_told(tmp_path: Path) -> None:
    for model in ("SRGANModel", "PlainModel"):
        options = write(tmp_path, model)
        options["train"]["optim_g"]["type"] = "Adamm"
        _, found = validate_options(options)
        assert [p.path for p in found.problems] == ["train.optim_g.type"]
        assert found.problems[0].message.startswith("unknown optimizer 'Adamm'; did you mean Adam or AdamW")


def build(root: Path, model: str, *kinds: str) -> Any:
    options = write(root, model, *kinds)
    typed, found = validate_options(options)
    assert not found.problems
    return build_model(typed.to_mapping())


def test_the_class_gets_the_blocks_as_they_are_written(tmp_path: Path) -> None:
    lion = build(tmp_path, "LionModel", "optimizer")
    assert isinstance(lion.optimizer_g, torch.optim.SGD) and isinstance(lion.optimizer_d, torch.optim.Adam)
    halving = build(tmp_path, "HalvingModel", "scheduler")
    for _ in range(10):
        halving.optimizer_g.step()
        halving.update_learning_rate(1)
    assert halving.get_current_learning_rate() == [pytest.approx(5e-4)]
    assert build(tmp_path, "OwnLossModel", "loss").cri_pix(torch.ones(1), torch.zeros(1)) == 0.5
    assert build(tmp_path, "OwnNetworkModel", "network", "optimizer").net_g.in_features == 3


def test_a_type_that_the_class_leaves_to_ours_is_one_clear_error(tmp_path: Path) -> None:
    options = write(tmp_path, "LionModel")
    options["train"]["optim_g"]["type"] = "Lionn"
    typed, _ = validate_options(options)
    with pytest.raises(UserError, match="unknown optimizer 'Lionn'"):
        build_model(typed.to_mapping())
    with pytest.raises(OptionsError, match=r"train\.optim_g\.type: unknown optimizer 'Lion'"):
        SRGANModel(freeze({**write(tmp_path, "SRGANModel", "optimizer"), "is_train": True}))
