"""What code of other people finds on a model without training one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from tiny_run import write_options

from basicsr.models import build_model
from basicsr.models.sr_model import SRModel
from basicsr.options.validate import validate_options
from basicsr.utils.registry import MODEL_REGISTRY


class SeamModel(SRModel):
    """Reads what 1.4.2 gives it."""

    def setup_schedulers(self):
        """One schedule for two optimizers."""
        self.optimizers.append(self.get_optimizer("Adam", [torch.nn.Parameter(torch.zeros(1))], 1e-3))
        self.schedulers.append(torch.optim.lr_scheduler.StepLR(self.optimizer_g, 5))


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.setattr(MODEL_REGISTRY, "_entries", {**MODEL_REGISTRY._entries, "SeamModel": SeamModel})

    def build_seam_model(is_train: bool = True, **changes: Any) -> Any:
        file = write_options(tmp_path, model_type="SeamModel", network_d=None, **changes)
        typed, found = validate_options(yaml.safe_load(file.read_text()), is_train=is_train)
        assert not found.problems
        return build_model(typed.to_mapping())

    return build_seam_model


def test_options_are_plain_mutable_and_as_written(build: Any) -> None:
    model = build(val={"suffix": None, "pbar": False}, extra=None)
    assert type(model.opt) is type(model.opt["train"]["optim_g"]) is dict
    assert model.opt["val"]["suffix"] is None and model.opt["extra"] is None and "network_d" not in model.opt
    assert model.opt["train"]["optim_g"].pop("type") == "Adam"
    assert build().opt["train"]["optim_g"]["type"] == "Adam"


def test_attributes_are_there_only_once_they_have_a_value(build: Any) -> None:
    model = build(is_train=False)
    assert not any(hasattr(model, name) for name in ("net_g_ema", "metric_results", "gt", "net_d", "optimizer_g"))
    model.feed_data({"lq": torch.rand(1, 3, 8, 8), "gt": torch.rand(1, 3, 32, 32)})
    assert hasattr(model, "gt")
    model.feed_data({"lq": torch.rand(1, 3, 8, 8)})
    model.test()
    assert not hasattr(model, "gt") and set(model.get_current_visuals()) == {"lq", "result"}
    assert hasattr(build(), "net_g_ema")


def test_fewer_schedules_than_optimizers_are_saved_and_restored(build: Any) -> None:
    model, other = build(), build()
    model.optimizer_g.step()
    model.schedulers[0].step()
    state = model.training_state()
    assert set(state["schedulers"]) == {"0"} and set(state["optimizers"]) == {"g", "1"}
    other.load_training_state(state)
    assert other.schedulers[0].last_epoch == 1


def test_a_call_without_a_key_loads_what_was_trained(build: Any, tmp_path: Path) -> None:
    model = build(is_train=False)
    weights = model.net_g.state_dict()
    zeros = {name: torch.zeros_like(value) for name, value in weights.items()}
    ones = {name: torch.ones_like(value) for name, value in weights.items()}
    torch.save({"params": zeros, "params_ema": ones}, tmp_path / "net.pth")
    model.load_network(model.net_g, tmp_path / "net.pth", True)
    assert all((value == 0).all() for value in model.net_g.state_dict().values())
    model.load_network(model.net_g, tmp_path / "net.pth", True, param_key="params_ema")
    assert all((value == 1).all() for value in model.net_g.state_dict().values())


def test_several_networks_share_a_file(build: Any, tmp_path: Path) -> None:
    model = build()
    model.opt["path"]["models"] = str(tmp_path)
    model.save_network([model.net_g, model.net_g_ema], "net_g", 7, param_key=["params", "params_ema"])
    model.save_network(model.net_g, "net_x", -1)
    assert set(torch.load(tmp_path / "net_g_7.pth", weights_only=True)) == {"params", "params_ema"}
    assert set(torch.load(tmp_path / "net_x_latest.pth", weights_only=True)) == {"params"}
