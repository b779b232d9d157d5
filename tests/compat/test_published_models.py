"""Models written for BasicSR 1.4.2 train, validate, resume and test, and what they override is called."""

from __future__ import annotations

import json
import logging
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from tiny_run import close_log_files, start, write_options

from basicsr import test, train

MODULES = [Path(__file__).with_name(f"published_{name}.py") for name in ("models", "copies")]
CRITIC = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}
GENERATOR = {"type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "upscale": 4}

# What each class needs in its option file beside the tiny run's, and what of it must have run.
MODELS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "WindowModel": ({"network_d": None}, {"test", "nondist_validation"}),
    "OwnStepModel": (
        {"train": {"usm_weight": 0.3}},
        {"get_optimizer", "optimize_parameters", "nondist_validation"},
    ),
    "BlindModel": ({"resize_prob": [0.2, 0.7, 0.1]}, {"feed_data", "get_current_visuals"}),
    "TwoNetworksModel": (
        {
            "network_t": GENERATOR,
            "train": {"ema_decay": 0, "fft_opt": {"type": "L1Loss", "loss_weight": 0.1}, "gan_opt": None},
        },
        {"test", "save"},
    ),
    "OwnLoopModel": (
        {"network_d": None, "val": {"suffix": None, "pbar": True}, "train": {"warmup_iter": 3}},
        {"setup_optimizers", "update_learning_rate", "nondist_validation"},
    ),
    "OwnSettingsModel": ({"train": {"net_d_iters": 2}}, {"init_training_settings"}),
    "OwnFeedModel": (
        {
            "queue_size": 4,
            "gt_size": 16,
            "resize_range": [0.5, 1.5],
            "gaussian_noise_prob": 0.5,
            "noise_range": [1, 30],
            "poisson_scale_range": [0.05, 3],
            "jpeg_range": [30, 95],
        },
        {"feed_data", "full pool"},
    ),
    "ComponentsModel": (
        {
            "network_d_left": CRITIC,
            "network_d_right": CRITIC,
            "train": {
                "optim_component": {"type": "Adam", "lr": 1e-3},
                "gan_component_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.01},
                "r1_reg_weight": 10,
            },
            "val": {"suffix": None},
        },
        {"optimize_parameters", "save", "nondist_validation"},
    ),
}
OWN_NUMBERS = ("WindowModel", "OwnLoopModel", "ComponentsModel")
"""Those that measure everything by themselves."""


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    close_log_files()


def calls() -> set[str]:
    """What the models of the module noted; the module is loaded by the option file."""
    from basicsr.utils.registry import MODEL_REGISTRY

    modules = {MODEL_REGISTRY.get(name).__module__ for name in ("WindowModel", "OwnLoopModel")}
    return set().union(*(sys.modules[name].CALLS for name in modules))


def forget_calls() -> None:
    from basicsr.utils.registry import MODEL_REGISTRY

    for name in ("WindowModel", "OwnLoopModel"):
        sys.modules[MODEL_REGISTRY.get(name).__module__].CALLS.clear()


class _Plain(yaml.SafeDumper):
    """Writes a block that occurs twice twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def write(root: Path, name: str) -> Path:
    changes, _ = MODELS[name]
    file = write_options(root, model_type=name, imports=list(map(str, MODULES)), **changes)
    options = yaml.safe_load(file.read_text())
    options["logger"]["save_checkpoint_freq"] = 2
    options["val"]["val_freq"] = 2
    options = {key: value for key, value in options.items() if value is not None}
    file.write_text(yaml.dump(options, Dumper=_Plain, sort_keys=False))
    return file


def run(root: Path, name: str, iterations: int, *more: str) -> Path:
    file = write(root, name)
    assert train.main(["-opt", str(file), "--force_yml", f"train:total_iter={iterations}", *more], root) == 0
    close_log_files()
    return root / "experiments/tiny"


def weights(folder: Path, label: str) -> dict[str, torch.Tensor]:
    state: dict[str, Any] = torch.load(folder / f"models/net_g_{label}.pth", weights_only=True)
    return state["params"]


@pytest.mark.parametrize("name", MODELS)
def test_published_models_train_validate_resume_and_test(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "basicsr")
    whole = run(tmp_path / "whole", name, 4)
    assert calls() >= MODELS[name][1]
    assert "Validation tiny_val" in caplog.text
    forget_calls()

    # A run that was killed after its first checkpoint ends in the same bits.
    killed = shutil.copytree(whole, tmp_path / "parts/experiments/tiny")
    for file in (killed / "training_states/4.state", killed / "summary.json", *killed.glob("models/*_latest.pth")):
        file.unlink()
    parts = run(tmp_path / "parts", name, 4, "--auto_resume")
    for key, value in weights(whole, "latest").items():
        assert torch.equal(value, weights(parts, "latest")[key]), key

    # The summary holds what the class measures.
    summary = json.loads((whole / "summary.json").read_text())
    scores = next(iter(summary.values()))["net_g"]["psnr"]

    forget_calls()
    options = yaml.safe_load((tmp_path / "whole/tiny.yml").read_text())
    options["path"]["pretrain_network_g"] = str(whole / "models/net_g_latest.pth")
    options["datasets"] = {"test_1": {**options["datasets"]["val"], "name": "tiny_val"}}
    for key in ("train", "network_d"):
        options.pop(key, None)
    file = tmp_path / "whole/test.yml"
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    assert test.main(["-opt", str(file)], tmp_path / "whole") == 0
    results = json.loads((tmp_path / "whole/results/tiny/metrics.json").read_text())["tiny_val"]
    assert calls() >= MODELS[name][1] & {"test", "nondist_validation", "get_current_visuals"}
    if name in OWN_NUMBERS:
        assert list(summary) == list(results["images"]) == ["(mean)"]
        assert results["protocols"]["psnr"] == f"as {name} measures it"
    if name == "BlindModel":
        gray = next((tmp_path / "whole/results/tiny/visualization").rglob("*.png"))
        assert (np.unique(cv2.imread(str(gray))) == 128).all()
    if name not in ("OwnStepModel", "OwnSettingsModel", "OwnFeedModel", "ComponentsModel"):  # tests know no average
        assert results["mean"]["net_g"]["psnr"] == pytest.approx(
            scores if name in OWN_NUMBERS else np.mean([s["net_g"]["psnr"] for s in summary.values()])
        )


def test_a_class_s_own_number_is_what_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "basicsr")
    folder = run(tmp_path, "WindowModel", 2)
    psnr = json.loads((folder / "summary.json").read_text())["(mean)"]["net_g"]["psnr"]
    assert f"# psnr: {psnr:.4f}  best: {psnr:.4f} at iteration 2" in caplog.text
    assert sorted(path.name for path in folder.glob("visualization/own_*.png")) == [f"own_{i}_2.png" for i in range(3)]


def test_own_saves_write_their_own_files(tmp_path: Path) -> None:
    folder = run(tmp_path, "TwoNetworksModel", 2)
    names = {path.name for path in (folder / "models").iterdir()}
    assert names == {f"net_{net}_{label}.pth" for net in ("g", "teacher") for label in ("2", "latest")}
    assert (folder / "training_states/2.state").is_file()


@pytest.mark.distributed
@pytest.mark.parametrize("name", ["WindowModel", "OwnStepModel"])
def test_several_processes_leave_a_class_s_own_validation_to_the_first(name: str, tmp_path: Path) -> None:
    file = write(tmp_path, name)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]
    arguments = ("-opt", str(file), "--launcher", "pytorch", "--force_yml", "train:total_iter=2")
    more = ("datasets:train:batch_size_per_gpu=1",)
    process = start(tmp_path, *arguments, *more, command=command)
    _, log = process.communicate(timeout=200)
    assert process.returncode == 0, log
    assert log.count("Validation tiny_val") == 1
    summary = json.loads((tmp_path / "experiments/tiny/summary.json").read_text())
    assert list(summary) == (["(mean)"] if name == "WindowModel" else ["00", "01", "02"])
    assert all(scores["net_g"]["psnr"] > 5 for scores in summary.values())
