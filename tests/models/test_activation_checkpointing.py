"""``train.activation_checkpointing``: a training with it is the training without it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.archs.recomputation import find_blocks
from basicsr.models import build_model
from basicsr.models.options import ModelOptions
from basicsr.models.sr_model import SRModel

SWIN = {
    "img_size": 32,
    "patch_size": 8,
    "num_classes": 1,
    "embed_dim": 8,
    "depths": [2],
    "num_heads": [2],
    "window_size": 2,
    "drop_path_rate": 0.3,
}
ADAM = {"type": "Adam", "lr": 1e-3}


def options(kind: str, is_saving: bool, **train: Any) -> dict[str, Any]:
    return {
        "model_type": kind,
        "scale": 4,
        "num_gpu": 0,
        "is_train": True,
        "path": {},
        "network_g": {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1},
        "network_d": {"type": "SwinTransformer", **SWIN},
        "net_spectral_d": {"type": "SpectralDiscriminator2D", "fix_normalize": True, **SWIN},
        "train": {
            "ema_decay": 0.9,
            "optim_g": ADAM,
            "optim_d": ADAM,
            "optim_spectral_d": ADAM,
            "scheduler": {"type": "MultiStepLR", "milestones": [100]},
            "pixel_opt": {"type": "L1Loss"},
            "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
            "activation_checkpointing": is_saving,
            **train,
        },
    }


def train(opt: dict[str, Any], kind: type[SRModel] | None = None) -> list[Tensor]:
    """Every weight, average and log after two steps."""
    torch.manual_seed(0)
    model = build_model(opt) if kind is None else kind(opt)
    assert isinstance(model, SRModel)
    logs: list[Tensor] = []
    for iteration in (1, 2):
        gt = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(iteration))
        model.begin_iteration(iteration)
        model.feed_data({"lq": nn.functional.avg_pool2d(gt, 4), "gt": gt})
        model.optimize_parameters(iteration)
        logs += [torch.as_tensor(value) for value in model.log_dict.values()]
    nets = [*model.networks().values(), *([model.average] if model.average else [])]
    is_saving = [all("forward" in vars(block) for block in find_blocks(net)) for net in model.networks().values()]
    assert all(is_saving) if opt["train"]["activation_checkpointing"] else not any(is_saving)
    return [*logs, *(value for net in nets for value in net.state_dict().values())]


WASSERSTEIN = {"gan_opt": {"type": "GANLoss", "gan_type": "wgan", "loss_weight": 0.1}}


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("ESRGANSpecModel", {}),
        ("ESRGANSpecModel", {"accumulate_steps": 2}),
        ("ESRGANSpecModel", {"precision": "bf16"}),
        ("ESRGANSimpleGatedDegradationWSpecModel", WASSERSTEIN),
    ],
)
def test_a_training_keeps_every_bit(kind: str, changes: dict[str, Any]) -> None:
    first, second = (train(options(kind, is_saving, **changes)) for is_saving in (False, True))
    assert len(first) == len(second)
    assert all(map(torch.equal, first, second))


def test_several_processes_train_the_same(tmp_path: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'ranks'}", rank=0, world_size=1)
    try:
        first, second = (train({**options("ESRGANSpecModel", each), "dist": True}) for each in (False, True))
    finally:
        dist.destroy_process_group()
    assert all(map(torch.equal, first, second))


def test_a_published_class_that_builds_its_networks_itself_has_it_too() -> None:
    class Published(SRModel):
        def init_training_settings(self) -> None:
            super().init_training_settings()
            self.net_extra = self.model_to_device(build_network(self.opt["network_g"]))
            assert all("forward" in vars(block) for block in find_blocks(self.net_extra))

    opt = options("SRModel", True)
    opt = {key: value for key, value in opt.items() if key not in ("network_d", "net_spectral_d")}
    opt["train"] = {key: opt["train"][key] for key in ("optim_g", "scheduler", "pixel_opt", "activation_checkpointing")}
    assert train(opt, Published)


def test_a_run_goes_on_with_it_as_without() -> None:
    digests = {ModelOptions.of(options("ESRGANSpecModel", is_saving)).digest for is_saving in (False, True)}
    assert len(digests) == 1
