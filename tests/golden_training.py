"""Models in the state that a golden training case starts from, and its batches."""

from __future__ import annotations

from typing import Any

import pytest
from golden_cases import Case, seeded_state

from basicsr.adversarial import WassersteinObjective
from basicsr.archs import vgg_arch
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel
from basicsr.processing.filters import USMSharp


def build(case: Case, monkeypatch: pytest.MonkeyPatch, **changes: Any) -> SRModel:
    """The case's model with its initial weights; ``changes`` replace options."""
    if "vgg_seed" in case.config:
        seed = case.config["vgg_seed"]
        monkeypatch.setattr(vgg_arch, "load_torchvision_weights", lambda net, *_: seeded_state(net, seed))
    model = build_model({**case.config["opt"], **changes})
    assert isinstance(model, SRModel)
    for name, net in model.networks().items():
        seeded = (case.config.get("seeded_nets") or {}).get(name)
        if seeded:
            seeded_state(net, **seeded)
        else:
            net.load_state_dict(case.state_dict(f"param.{name}/"))
    if model.average is not None:
        model.average.load_state_dict(model.networks()["g"].state_dict())
    return model


def inject_alpha(case: Case, model: SRModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the gradient penalties use the stored interpolation factors, in order."""
    if model.critics and isinstance(model.objective, WassersteinObjective):
        stored = iter(case.tensor("in.alpha").to(model.device))
        monkeypatch.setattr(model.objective, "draw_alpha", lambda *_: next(stored))


def feed(case: Case, model: SRModel, iteration: int) -> None:
    """Gives the model the case's batch of an iteration."""
    model.feed_data({"lq": case.tensor(f"in.lq/{iteration}"), "gt": case.tensor(f"in.gt/{iteration}")})
    if case.config["opt"]["model_type"] == "RealESRGANModel":
        assert model.gt is not None
        model.gt_usm = USMSharp().to(model.gt)(model.gt)
