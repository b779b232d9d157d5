"""The published package ``realesrgan`` 0.3.0 works on this one unchanged: ``pip install --no-deps realesrgan==0.3.0``.

Its code is written for GPUs; where there is none, ``.cuda()`` is made to do nothing.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
import yaml
from tiny_run import close_log_files

from basicsr import train
from basicsr.archs.rrdbnet_arch import RRDBNet

pytestmark = pytest.mark.clients

KERNELS = ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"]
PROBABILITIES = [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if not torch.cuda.is_available():
        monkeypatch.setattr(torch.nn.Module, "cuda", lambda module, *_: module)
        monkeypatch.setattr(torch.Tensor, "cuda", lambda tensor, *_: tensor)
    yield
    close_log_files()


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two photographs with their list, their reductions by four, and the pairs' list."""
    root = tmp_path_factory.mktemp("photographs")
    names = ("astronaut", "coffee")
    for name in names:
        image = getattr(skimage.data, name)()[:400, :400, ::-1]
        for folder, side in (("GT", 400), ("LQ", 100)):
            (root / folder).mkdir(exist_ok=True)
            cv2.imwrite(
                str(root / folder / f"{name}.png"), cv2.resize(image, (side, side), interpolation=cv2.INTER_AREA)
            )
    (root / "list.txt").write_text("".join(f"GT/{name}.png\n" for name in names))
    (root / "pairs.txt").write_text("".join(f"GT/{name}.png, LQ/{name}.png\n" for name in names))
    return root


def test_it_registers_its_parts_in_place_of_ours() -> None:
    import realesrgan.archs.discriminator_arch as theirs

    from basicsr.archs import build_network, discriminator_arch
    from basicsr.utils.registry import ARCH_REGISTRY

    assert ARCH_REGISTRY.get("UNetDiscriminatorSN") is theirs.UNetDiscriminatorSN
    assert ARCH_REGISTRY.get("UNetDiscriminatorSN_basicsr") is discriminator_arch.UNetDiscriminatorSN
    assert isinstance(build_network({"type": "UNetDiscriminatorSN", "num_in_ch": 3}), theirs.UNetDiscriminatorSN)


def test_its_upsampler_gives_what_the_network_gives(tmp_path: Path) -> None:
    from realesrgan import RealESRGANer

    torch.manual_seed(0)
    net = RRDBNet(3, 3, scale=4, num_feat=8, num_block=1, num_grow_ch=4).eval()
    torch.save({"params_ema": net.state_dict()}, tmp_path / "net.pth")
    image = skimage.data.astronaut()[100:164, 200:280, ::-1]
    rgb = torch.from_numpy(np.ascontiguousarray(image[..., ::-1])).permute(2, 0, 1).float().div(255)
    with torch.no_grad():
        plain = net(rgb[None]).clamp(0, 1)[0].permute(1, 2, 0).numpy()[..., ::-1]
    # The network sees 24 pixels around a tile, which is more than this small one's reach.
    for tile in (0, 40):
        build = RRDBNet(3, 3, scale=4, num_feat=8, num_block=1, num_grow_ch=4)
        upsampler = RealESRGANer(
            4, str(tmp_path / "net.pth"), model=build, tile=tile, tile_pad=24, pre_pad=0, device=torch.device("cpu")
        )
        output, mode = upsampler.enhance(image)
        assert mode == "RGB" and output.shape == (256, 320, 3)
        np.testing.assert_array_equal(output, (plain * 255).round().astype(np.uint8))


def write_options(root: Path, photographs: Path, model_type: str, paired: bool = False) -> Path:
    """A small form of the package's own option files, with their keys."""
    degradations: dict[str, Any] = {}
    for suffix, sigma in (("", [0.2, 3]), ("2", [0.2, 1.5])):
        degradations |= {
            f"blur_kernel_size{suffix}": 21,
            f"kernel_list{suffix}": KERNELS,
            f"kernel_prob{suffix}": PROBABILITIES,
            f"sinc_prob{suffix}": 0.1,
            f"blur_sigma{suffix}": sigma,
            f"betag_range{suffix}": [0.5, 4],
            f"betap_range{suffix}": [1, 2],
        }
    images = {"meta_info": str(photographs / "list.txt"), **degradations, "final_sinc_prob": 0.8, "gt_size": 64}
    pairs = {"meta_info": str(photographs / "pairs.txt"), "dataroot_lq": str(photographs), "gt_size": 64}
    generator = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "num_grow_ch": 4}
    options: dict[str, Any] = {
        "name": "tiny",
        "model_type": model_type,
        "imports": ["realesrgan"],
        "scale": 4,
        "num_gpu": 0,
        "manual_seed": 0,
        "gt_usm": True,
        "l1_gt_usm": True,
        "percep_gt_usm": True,
        "gan_gt_usm": False,
        "high_order_degradation": not paired,
        "resize_prob": [0.2, 0.7, 0.1],
        "resize_range": [0.15, 1.5],
        "gaussian_noise_prob": 0.5,
        "noise_range": [1, 30],
        "poisson_scale_range": [0.05, 3],
        "gray_noise_prob": 0.4,
        "jpeg_range": [30, 95],
        "second_blur_prob": 0.8,
        "resize_prob2": [0.3, 0.4, 0.3],
        "resize_range2": [0.3, 1.2],
        "gaussian_noise_prob2": 0.5,
        "noise_range2": [1, 25],
        "poisson_scale_range2": [0.05, 2.5],
        "gray_noise_prob2": 0.4,
        "jpeg_range2": [30, 95],
        "gt_size": 64,
        "queue_size": 4,
        "datasets": {
            "train": {
                "name": "photographs",
                "type": "RealESRGANPairedDataset" if paired else "RealESRGANDataset",
                "dataroot_gt": str(photographs),
                "io_backend": {"type": "disk"},
                **(pairs if paired else images),
                "use_hflip": True,
                "use_rot": False,
                "use_shuffle": True,
                "num_worker_per_gpu": 0,
                "batch_size_per_gpu": 2,
                "dataset_enlarge_ratio": 2,
                "prefetch_mode": None,
            },
            "val": {
                "name": "validation",
                "type": "PairedImageDataset",
                "dataroot_gt": str(photographs / "GT"),
                "dataroot_lq": str(photographs / "LQ"),
                "io_backend": {"type": "disk"},
            },
        },
        "network_g": generator,
        "path": {"pretrain_network_g": None, "param_key_g": "params_ema", "strict_load_g": True, "resume_state": None},
        "train": {
            "ema_decay": 0.999,
            "optim_g": {"type": "Adam", "lr": 1e-4, "weight_decay": 0, "betas": [0.9, 0.99]},
            "scheduler": {"type": "MultiStepLR", "milestones": [400000], "gamma": 0.5},
            "total_iter": 2,
            "warmup_iter": -1,
            "pixel_opt": {"type": "L1Loss", "loss_weight": 1.0, "reduction": "mean"},
        },
        "val": {
            "val_freq": 2,
            "save_img": True,
            "metrics": {"psnr": {"type": "calculate_psnr", "crop_border": 4, "test_y_channel": False}},
        },
        "logger": {"print_freq": 1, "save_checkpoint_freq": 2, "use_tb_logger": True, "wandb": {"project": None}},
        "dist_params": {"backend": "nccl", "port": 29500},
    }
    if model_type == "RealESRGANModel":
        options["network_d"] = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4, "skip_connection": True}
        options["path"]["pretrain_network_d"] = None
        options["train"] |= {
            "optim_d": options["train"]["optim_g"],
            "gan_opt": {
                "type": "GANLoss",
                "gan_type": "vanilla",
                "real_label_val": 1.0,
                "fake_label_val": 0.0,
                "loss_weight": 0.1,
            },
            "net_d_iters": 1,
            "net_d_init_iters": 0,
        }
    file = root / "tiny.yml"
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    return file


@pytest.mark.parametrize("model_type", ["RealESRNetModel", "RealESRGANModel"])
@pytest.mark.parametrize("paired", [False, True], ids=["degraded", "paired"])
def test_its_models_train_validate_and_save(
    model_type: str, paired: bool, photographs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    from realesrgan.models import realesrgan_model, realesrnet_model

    caplog.set_level(logging.INFO, "basicsr")
    classes = {"RealESRGANModel": realesrgan_model.RealESRGANModel, "RealESRNetModel": realesrnet_model.RealESRNetModel}
    steps: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        cls = classes[model_type]
        step = cls.optimize_parameters
        patch.setattr(cls, "optimize_parameters", lambda model, it: (steps.append(it), step(model, it)))
        train.train_pipeline(tmp_path, ["-opt", os.fspath(write_options(tmp_path, photographs, model_type, paired))])
    folder = tmp_path / "experiments/tiny"
    assert steps == [2, 1, 2]  # the rehearsal's, then the training's
    names = ["net_g", *(["net_d"] if model_type == "RealESRGANModel" else [])]
    expected = {f"{name}_{label}.pth" for name in names for label in ("2", "latest")}
    assert {path.name for path in (folder / "models").iterdir()} == expected
    weights = torch.load(folder / "models/net_g_latest.pth", weights_only=True)
    assert set(weights) == {"params", "params_ema"}
    assert "# psnr:" in caplog.text
    summary = json.loads((folder / "summary.json").read_text())
    assert sorted(summary) == ["astronaut", "coffee"]


def test_its_data_sets_give_samples(photographs: Path, tmp_path: Path) -> None:
    from basicsr.data import build_dataset

    for paired, shapes in ((False, {"gt": (3, 400, 400), "kernel1": (21, 21)}), (True, {"lq": (3, 16, 16)})):
        options = yaml.safe_load(write_options(tmp_path, photographs, "RealESRNetModel", paired).read_text())
        dataset = build_dataset({**options["datasets"]["train"], "phase": "train", "scale": 4})
        assert type(dataset).__module__.startswith("realesrgan.")
        sample = dataset[0]
        assert {key: tuple(sample[key].shape) for key in shapes} == shapes
