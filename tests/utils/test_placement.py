"""Which networks have their elements in the order of channels last, and who sees it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basicsr.analysis.generators import load_network
from basicsr.archs import build_network
from basicsr.models.sr_model import SRModel
from basicsr.utils.batch import Batch
from basicsr.utils.placement import is_familiar, place
from basicsr.weights import save_network

TINY = {"type": "MSRResNet", "num_feat": 4, "num_block": 1}
pytestmark = pytest.mark.skipif(not torch.backends.mkldnn.is_available(), reason="of CPUs that gain nothing by it")


class Foreign(nn.Module):
    """A network as other people may write one: it needs the usual order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.conv(x)
        return made.view(len(x), -1)


class ForeignModel(SRModel):
    """A model as other people may write one."""


ForeignModel.__module__ = "elsewhere"


def is_ordered(net: nn.Module) -> bool:
    weights = [weight for weight in net.parameters() if weight.dim() == 4 and weight.shape[1] > 1]
    assert weights
    ordered = {weight.is_contiguous(memory_format=torch.channels_last) for weight in weights}
    assert len(ordered) == 1
    return ordered.pop()


def build(model: type[SRModel] = SRModel, is_train: bool = True, **train: Any) -> SRModel:
    optim = {"optim_g": {"type": "Adam", "lr": 1e-4}, "scheduler": {"type": "MultiStepLR", "milestones": [9]}}
    losses = {"pixel_opt": {"type": "L1Loss"}}
    opt = {"model_type": "SRModel", "scale": 4, "num_gpu": 0, "is_train": is_train, "path": {}, "network_g": TINY}
    return model({**opt, "train": {"ema_decay": 0.9, **optim, **losses, **train}})


def test_networks_of_this_package_are_ordered_on_a_cpu_and_keep_their_values() -> None:
    torch.manual_seed(0)
    net = build_network(TINY)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    assert not is_ordered(net)
    assert is_ordered(place(net, "cpu")) and is_familiar(net)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())


@pytest.mark.parametrize("net", [Foreign(), nn.Sequential(nn.Conv2d(3, 4, 3), Foreign())])
def test_networks_of_others_keep_their_order(net: nn.Module) -> None:
    assert not is_ordered(place(net, "cpu"))
    assert not is_ordered(place(build_network(TINY), "cpu", channels_last=False))
    assert is_ordered(place(net, "cpu", channels_last=True))


@pytest.mark.parametrize(
    ("model", "is_train", "chosen", "expected"),
    [
        (SRModel, True, {}, True),
        (SRModel, False, {}, True),
        (SRModel, True, {"channels_last": False}, False),
        (SRModel, True, {"channels_last": True}, True),
        (ForeignModel, True, {}, False),
        (ForeignModel, False, {}, False),
        (ForeignModel, True, {"channels_last": True}, True),
    ],
)
def test_a_model_orders_its_networks(
    model: type[SRModel], is_train: bool, chosen: dict[str, Any], expected: bool
) -> None:
    built = build(model, is_train, **chosen)
    assert is_ordered(built.net_g) is expected
    if is_train:
        assert is_ordered(built.net_g_ema) is expected


def test_losses_and_critics_see_the_usual_order() -> None:
    """Also those of other people, which may look at an image by ``view``."""
    seen: list[Tensor] = []

    class Flat(nn.Module):
        def forward(self, sr: Tensor, gt: Tensor, weight: Tensor | None = None) -> Tensor:
            seen.append(sr)
            return (sr.view(len(sr), -1) - gt.view(len(gt), -1)).abs().mean()

    model = build()
    model.content.losses["pix"] = Flat()
    model.feed_data({"lq": torch.rand(2, 3, 8, 8), "gt": torch.rand(2, 3, 32, 32)})
    model.optimize_parameters(1)
    assert seen[0].is_contiguous() and model.output.is_contiguous()
    batch = Batch(torch.rand(1, 3, 4, 4))
    batch.take_output(torch.rand(1, 3, 4, 4).to(memory_format=torch.channels_last))
    assert batch.sr is not None and batch.sr.is_contiguous()


def test_files_are_the_same_in_either_order(tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = build_network(TINY)
    for name in ("usual", "ordered"):
        save_network({"params": net}, tmp_path / f"{name}.pth")
        place(net, "cpu")
    usual, ordered = (torch.load(tmp_path / f"{name}.pth", weights_only=True) for name in ("usual", "ordered"))
    for name, value in usual["params"].items():
        assert torch.equal(ordered["params"][name], value) and ordered["params"][name].is_contiguous()


def test_a_loaded_network_is_ordered(tmp_path: Path) -> None:
    net = build_network(TINY)
    save_network({"params": net}, tmp_path / "net.pth")
    loaded = load_network(tmp_path / "net.pth", options={"network_g": TINY, "scale": 4})
    assert is_ordered(loaded.net)
    x = torch.rand(1, 3, 8, 8)
    torch.testing.assert_close(loaded.net(x), net.eval()(x), rtol=0, atol=1e-5)
