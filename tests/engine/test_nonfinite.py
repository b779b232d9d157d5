"""A batch that is kept reproduces the losses that it was kept for."""

from __future__ import annotations

import copy
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from basicsr.engine.nonfinite import replay_batch, stop_if_nonfinite
from basicsr.models import build_model
from basicsr.models.nonfinite import NonfiniteReport
from basicsr.models.sr_model import SRModel
from basicsr.utils.errors import TrainingError

SIDE, SCALE, LAST = 16, 2, 4


def make_model() -> SRModel:
    torch.manual_seed(0)
    adam = {"type": "Adam", "lr": 0.01}
    swin = {"type": "SwinTransformer", "img_size": SIDE, "patch_size": 4, "num_classes": 1, "embed_dim": 8}
    opt: dict[str, Any] = {
        "model_type": "RealESRGANModel",
        "scale": SCALE,
        "num_gpu": 0,
        "is_train": True,
        "manual_seed": 3,
        "path": {},
        "gt_size": SIDE,
        "queue_size": 4,
        "network_g": {"type": "SRVGGNetCompact", "num_feat": 4, "num_conv": 1, "upscale": SCALE},
        "network_d": {**swin, "depths": [2], "num_heads": [2], "window_size": 2, "drop_path_rate": 0.5},
        "train": {
            "optim_g": adam,
            "optim_d": adam,
            "scheduler": {"type": "MultiStepLR", "milestones": [100]},
            "pixel_opt": {"type": "L1Loss"},
            "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
            "diffaug": True,
        },
    }
    model = build_model(opt)
    assert isinstance(model, SRModel)
    return model


def make_batch(iteration: int) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(iteration)
    kernels = {name: torch.rand(2, 7, 7, generator=generator) / 25 for name in ("kernel1", "kernel2", "sinc_kernel")}
    gt = torch.rand(2, 3, 32, 32, generator=generator)
    return {"gt": gt, **kernels, "gt_path": [f"{iteration}a.png", f"{iteration}b.png"]}


def test_a_kept_batch_gives_the_losses_again(tmp_path: Path) -> None:
    model = make_model()
    for iteration in range(1, LAST + 1):
        before = copy.deepcopy(model.training_state())
        model.begin_iteration(iteration)
        model.feed_data(make_batch(iteration))
        inputs = model.describe_inputs()
        model.optimize_parameters(iteration)
    logs = model.get_current_log()
    report = NonfiniteReport(LAST, ["l_g_pix"], inputs)
    guard = SimpleNamespace(poll=lambda wait: report)
    with pytest.raises(TrainingError, match=r"its images: \d[ab]\.png, \d[ab]\.png\."):
        stop_if_nonfinite(SimpleNamespace(guard=guard, seed=model.seed), tmp_path, wait=False)
    (kept,) = (tmp_path / "nonfinite").iterdir()

    again = make_model()
    again.load_training_state(before)
    assert replay_batch(again, kept) == logs
    assert torch.load(kept, weights_only=True)["batch"]["gt_usm"].shape == (2, 3, SIDE, SIDE)
