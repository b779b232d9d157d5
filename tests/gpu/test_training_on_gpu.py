"""What only a CUDA device can show: parts work there and give the CPU's numbers."""

from __future__ import annotations

import pytest
import torch
from golden_cases import load_case

from basicsr.models import build_model
from basicsr.models.sr_model import SRModel

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


@pytest.fixture(autouse=True)
def full_precision() -> None:
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@pytest.mark.parametrize("name", ["train_esrgan_spec", "train_srgan_spec", "train_bebygan_hgd_spec"])
def test_losses_on_the_gpu_are_the_golden_ones(name: str) -> None:
    case = load_case(name)
    opt = case.config["opt"]
    opt["num_gpu"] = 1
    model = build_model(opt)
    assert isinstance(model, SRModel)
    for net_name, net in model.networks().items():
        net.load_state_dict(case.state_dict(f"param.{net_name}/"))
    assert model.ema is not None
    model.ema.reset(model.networks()["g"])
    for iteration in case.config["current_iters"]:
        model.feed_data({"lq": case.tensor(f"in.lq/{iteration}"), "gt": case.tensor(f"in.gt/{iteration}")})
        model.optimize_parameters(iteration)
        for log, value in model.get_current_log().items():
            expected = float(case.arrays[f"out.log/{iteration}/{log}"])
            assert value == pytest.approx(expected, rel=5e-3, abs=1e-4), (iteration, log)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_mixed_precision_trains(precision: str) -> None:
    case = load_case("train_esrgan_spec")
    opt = case.config["opt"]
    opt["num_gpu"] = 1
    opt["train"]["precision"] = precision
    model = build_model(opt)
    assert isinstance(model, SRModel)
    before = model.networks()["g"].conv_first.weight.detach().clone()
    for iteration in (1, 2, 3):
        model.begin_iteration(iteration)
        model.feed_data({"lq": case.tensor(f"in.lq/{iteration}"), "gt": case.tensor(f"in.gt/{iteration}")})
        model.optimize_parameters(iteration)
    assert all(value == value for value in model.get_current_log().values())
    assert not torch.equal(before, model.networks()["g"].conv_first.weight)
