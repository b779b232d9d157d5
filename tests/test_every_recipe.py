"""Every option file, ours and the published ones, trains; shrunk only by overrides on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import pytest
import skimage.data
import torch
import torchvision

from basicsr.models.sr_model import SRModel
from basicsr.options.load import load_file
from basicsr.train import train_pipeline

ROOT = Path(__file__).parents[1]
FILES = sorted((ROOT / "options" / "train").glob("*.yml")) + sorted((ROOT / "tests/golden/options/train").glob("*.yml"))
SIZE = 32


@pytest.fixture(scope="session")
def materials(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two small photographs, their reductions, and a weights file in torchvision's format."""
    folder = tmp_path_factory.mktemp("materials")
    for name in ("astronaut", "coffee"):
        image = getattr(skimage.data, name)()[60:204, 180:324, ::-1]
        for part, side in (("HR", 144), ("LQ", 36)):
            (folder / part).mkdir(exist_ok=True)
            reduced = cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / part / f"{name}.png"), reduced)
    torch.manual_seed(0)
    torch.save(torchvision.models.vgg19(num_classes=1).features.state_dict(prefix="features."), folder / "vgg19.pth")
    return {"hr": folder / "HR", "lq": folder / "LQ", "vgg": folder / "vgg19.pth"}


def shrink(file: Path, materials: dict[str, Path], iterations: int) -> list[str]:
    """Overrides that make a recipe train in seconds, on two photographs."""
    values: dict[str, Any] = load_file(file).data
    # This critic exists for two sizes of images only.
    needs_large = (values.get("network_d") or {}).get("type") == "VGGStyleDiscriminator"
    size = 128 if needs_large else SIZE
    changes: dict[str, Any] = {
        "num_gpu": 0,
        "name": f"tiny_{file.stem}",
        "train:total_iter": iterations,
        "logger:use_tb_logger": False,
        "path:pretrain_network_g": None,
        "datasets:val": {"name": "v", "type": "PairedImageDataset", **_roots(materials)},
        "datasets:train:num_worker_per_gpu": 0,
        "datasets:train:batch_size_per_gpu": 2,
        "datasets:train:gt_size": size,
        "datasets:train:dataset_enlarge_ratio": 2 * iterations,
        "datasets:train:dataroot_gt": str(materials["hr"]),
    }
    metrics = (values.get("val") or {}).get("metrics") or {}
    # LPIPS needs weights that cannot be had without a network; the recipe's other metrics stay.
    changes |= {f"val:metrics:{name}": None for name, block in metrics.items() if block["type"] == "calculate_lpips"}
    changes |= {"val:val_freq": iterations} if metrics else {"val": {"val_freq": iterations, "metrics": {"psnr": PSNR}}}
    train = values["datasets"]["train"]
    if "dataroot_lq" in train:
        changes["datasets:train:dataroot_lq"] = str(materials["lq"])
    if "branch_init_iters" in values["train"]:
        changes["train:branch_init_iters"] = iterations // 10
    changes |= {f"datasets:train:{key}": None for key in ("meta_info", "meta_info_file", "prepare") if key in train}
    changes |= {key: value for key, value in (("gt_size", size), ("queue_size", 4)) if key in values}
    for key in ("network_g", "network_d", "net_spectral_d", "net_grad_d"):
        changes |= {f"{key}:{name}": value for name, value in _small(values.get(key)).items()}
    if "perceptual_opt" in values["train"]:
        changes["train:perceptual_opt:pretrained_path"] = str(materials["vgg"])
    if "percep" in values.get("losses", {}):
        changes["losses:percep:pretrained_path"] = str(materials["vgg"])
    for name, critic in values.get("critics", {}).items():
        small = _small(critic["network"])
        changes[f"critics:{name}:network"] = {"type": critic["network"]["type"], **small}
        if "patch_size" in critic.get("view", {}):
            changes[f"critics:{name}:view:patch_size"] = 8
    return [f"{key}={json.dumps(value)}" for key, value in changes.items()]


PSNR = {"type": "calculate_psnr", "crop_border": 4, "test_y_channel": True}


def _roots(materials: dict[str, Path]) -> dict[str, Any]:
    return {"dataroot_gt": str(materials["hr"]), "dataroot_lq": str(materials["lq"]), "io_backend": {"type": "disk"}}


def _small(network: dict[str, Any] | None) -> dict[str, Any]:
    kind = (network or {}).get("type")
    if kind == "RRDBNet":
        return {"num_feat": 8, "num_block": 1, "num_grow_ch": 4}
    if kind == "SPSRNet":
        return {"nf": 8, "nb": 2, "gc": 4}
    if kind in ("SwinTransformer", "SpectralDiscriminator2D"):
        swin = {"img_size": SIZE, "patch_size": 8, "embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 2}
        return swin
    if kind == "UNetDiscriminatorSN":
        return {"num_feat": 4}
    if kind == "VGGStyleDiscriminator":
        return {"num_feat": 4}
    return {}


def run(file: Path, materials: dict[str, Path], root: Path, iterations: int, *more: str) -> Path:
    argv = ["-opt", str(file), "--force_yml", *shrink(file, materials, iterations), *more]
    train_pipeline(root, argv)
    return root / "experiments" / f"tiny_{file.stem}"


def _name(file: Path) -> str:
    return f"{'published' if 'golden' in file.parts else 'ours'}-{file.stem}"


QUICK = {"quickstart", "train_esrgan_x4_dual_former", "default_dualformer_x4", "train_esrnet_x4_hgd"}
"""One of each kind; others take seconds of a core each and differ little from these."""


def _is_slow(file: Path) -> bool:
    return "golden" in file.parts or file.stem not in QUICK


@pytest.mark.parametrize(
    "file", [pytest.param(file, marks=pytest.mark.slow if _is_slow(file) else ()) for file in FILES], ids=_name
)
def test_two_iterations(file: Path, materials: dict[str, Path], tmp_path: Path) -> None:
    # As many iterations as the generator waits for, where critics train more often.
    iterations = max(2, int(load_file(file).data["train"].get("net_d_iters") or 1))
    folder = run(file, materials, tmp_path, iterations)
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary) == {"astronaut", "coffee"}
    weights = torch.load(folder / "models" / "net_g_latest.pth", weights_only=True)
    assert set(weights) == {"params", "params_ema"}
    assert (folder / "training_states" / f"{iterations}.state").is_file()


@pytest.mark.recipes
@pytest.mark.timeout(1800)  # the critics for 128x128 pixels and VGG take their time on a CPU
@pytest.mark.parametrize("file", [file for file in FILES if "golden" not in file.parts], ids=_name)
def test_two_hundred_iterations(
    file: Path, materials: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pixel: list[float] = []
    step = SRModel.optimize_parameters

    def recorded(model: SRModel, current_iter: int) -> None:
        step(model, current_iter)
        log = model.get_current_log()
        assert all(value == value and abs(value) < 1e6 for value in log.values()), (current_iter, log)
        pixel.append(log["l_g_pix"] if "l_g_pix" in log else log["l_pix"])

    monkeypatch.setattr(SRModel, "optimize_parameters", recorded)
    run(file, materials, tmp_path, 200, "train:net_d_iters=1", "train:rehearse=false")
    assert len(pixel) == 200
    assert sum(pixel[-20:]) < sum(pixel[:20])
