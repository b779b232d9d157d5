"""Names, attributes and keyword arguments of BasicSR 1.4.2 that code on it uses beside the registries and models."""

from __future__ import annotations

import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from basicsr.archs.discriminator_arch import VggDiscriminatorYN
from basicsr.archs.swinir_arch import SwinIR
from basicsr.archs.vgg_arch import NAMES
from basicsr.data import PrefetchDataLoader, build_dataset, worker_init_fn
from basicsr.data.data_util import scandir
from basicsr.data.degradations import bivariate_Gaussian, mesh_grid
from basicsr.losses.basic_loss import CharbonnierLoss, L1Loss, MSELoss
from basicsr.losses.gan_loss import GANLoss
from basicsr.losses.gradient_penalty import gradient_penalty_loss, gradient_penalty_wdiv, wgan_gp_penalty
from basicsr.metrics import calculate_niqe, calculate_psnr, calculate_psnr_pt, calculate_ssim, calculate_ssim_pt
from basicsr.models.lr_scheduler import get_position_from_periods
from basicsr.utils import yaml_load
from basicsr.utils.download_util import download_file_from_google_drive
from basicsr.utils.errors import OptionsError, WeightsError


def test_sub_packages_are_attributes_and_loaded_when_asked_for() -> None:
    code = """
import sys, basicsr
assert "torch" not in sys.modules and not hasattr(basicsr, "no_such_part")
print(basicsr.archs.build_network.__name__, basicsr.utils.get_root_logger.__name__, basicsr.data.__name__)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["build_network", "get_root_logger", "basicsr.data"], done.stderr


def test_files_are_found_and_read(tmp_path: Path) -> None:
    for name in ("b.png", "a.txt", "sub/c.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("name: x\n")
    assert sorted(scandir(str(tmp_path), suffix=".png", recursive=True)) == ["b.png", "sub/c.png"]
    assert yaml_load(str(tmp_path / "a.txt")) == {"name": "x"}
    download_file_from_google_drive("1a2b", str(tmp_path / "b.png"))
    with pytest.raises(WeightsError, match=r"net\.pth.*drive\.google\.com/file/d/1a2b/view"):
        download_file_from_google_drive("1a2b", tmp_path / "net.pth")


def test_vgg_layers_have_their_published_names() -> None:
    assert set(NAMES) == {"vgg11", "vgg13", "vgg16", "vgg19"}
    assert NAMES["vgg11"][:4] == ["conv1_1", "relu1_1", "pool1", "conv2_1"] and NAMES["vgg19"][-1] == "pool5"


def test_data_sets_have_their_published_attributes(tmp_path: Path) -> None:
    import cv2

    for folder, side in (("hr", 16), ("lr", 4)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.zeros((side, side, 3), np.uint8))
    block = {"dataroot_gt": str(tmp_path / "hr"), "dataroot_lq": str(tmp_path / "lr"), "scale": 4, "phase": "val"}
    dataset = build_dataset({"type": "PairedImageDataset", "name": "d", "io_backend": {"type": "disk"}, **block})
    assert (dataset.gt_folder, dataset.lq_folder) == (block["dataroot_gt"], block["dataroot_lq"])
    assert dataset.io_backend_opt == {"type": "disk"} and dataset.filename_tmpl == "{}"
    assert dataset.mean is None and dataset.std is None
    assert dataset.file_client.get(str(tmp_path / "lr/a.png"), "lq")[:4] == b"\x89PNG"


def test_images_of_luma_take_one_mean_and_deviation(tmp_path: Path) -> None:
    import cv2

    for folder, side in (("hr", 16), ("lr", 4)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "a.png"), np.full((side, side, 3), 255, np.uint8))
    block = {"dataroot_gt": str(tmp_path / "hr"), "dataroot_lq": str(tmp_path / "lr"), "scale": 4, "phase": "val"}
    block |= {"type": "PairedImageDataset", "color": "y", "mean": [0.5], "std": [0.25]}
    sample = build_dataset(block)[0]
    expected = (235 / 255 - 0.5) / 0.25
    assert sample["gt"].shape == (1, 16, 16) and sample["gt"].mean().item() == pytest.approx(expected, abs=1e-5)
    with pytest.raises(OptionsError, match="mean: expected one number for all channels, or three"):
        build_dataset({**block, "mean": [0.5, 0.5]})


def test_losses_pass_over_further_keywords() -> None:
    pred, target = torch.rand(2, 1, 3, 4, 4)
    for loss in (L1Loss(), MSELoss(), CharbonnierLoss()):
        assert loss(pred, target, None, mask=3) == loss(pred, target)


def test_a_subclass_of_the_gan_loss_has_labels_of_its_own() -> None:
    class Smoothed(GANLoss):
        def get_target_label(self, input, target_is_real):
            return super().get_target_label(input, target_is_real) * 0.9

    logits = torch.zeros(2, 1)
    assert Smoothed("lsgan")(logits, True, is_disc=True).item() == pytest.approx(0.81)
    assert GANLoss("lsgan").get_target_label(logits, True).tolist() == [[1.0], [1.0]]


def test_periods_are_found_by_their_ends() -> None:
    assert [get_position_from_periods(i, [100, 200, 300]) for i in (50, 100, 101, 300)] == [0, 0, 1, 2]


def test_loaders_are_published_with_the_data_sets() -> None:
    loader = PrefetchDataLoader(
        2, dataset=range(4), worker_init_fn=partial(worker_init_fn, num_workers=1, rank=0, seed=0)
    )
    assert [int(batch) for batch in loader] == [0, 1, 2, 3]


def test_metrics_pass_over_further_keywords() -> None:
    image, other = np.random.default_rng(0).integers(0, 256, (2, 200, 200, 3))
    for calculate in (calculate_psnr, calculate_ssim):
        assert calculate(image, other, crop_border=4, suffix="x") == calculate(image, other, 4)
    batches = torch.rand(2, 1, 3, 16, 16)
    for calculate_pt in (calculate_psnr_pt, calculate_ssim_pt):
        assert calculate_pt(*batches, crop_border=0, suffix="x") == calculate_pt(*batches, 0)
    assert calculate_niqe(image, 0, suffix="x") == calculate_niqe(image, 0)


def test_swinir_counts_its_operations() -> None:
    sizes = {"img_size": 8, "window_size": 4, "embed_dim": 12, "depths": [2], "num_heads": [2], "mlp_ratio": 2}
    net = SwinIR(upscale=2, upsampler="pixelshuffledirect", **sizes)
    assert net.no_weight_decay() == {"absolute_pos_embed"}
    assert any("relative_position_bias_table" in name for name, _ in net.named_parameters())
    assert net.no_weight_decay_keywords() == {"relative_position_bias_table"}
    tokens, dim, window = 64, 12, 16
    block = tokens * dim * (3 * dim + dim + 2 * 2 * dim) + 2 * tokens * window * dim
    convs = tokens * 9 * (3 * dim + dim * dim + dim * dim + dim * 12)
    assert net.flops() == 2 * block + convs


def test_gradient_penalties_keep_the_logits_on_request() -> None:
    critic = nn.Linear(12, 1)
    real, fake = torch.rand(2, 4, 12)
    for penalty in (gradient_penalty_loss, wgan_gp_penalty, gradient_penalty_wdiv):
        values = []
        for trick in (False, True):
            critic.zero_grad()
            value = penalty(critic, real, fake, grad_trick=trick, alpha=torch.full((4, 1), 0.5))
            value.backward()
            values.append((value.item(), critic.weight.grad.clone()))
            assert (critic.bias.grad is not None) is trick
        assert values[0][0] == values[1][0] and torch.equal(values[0][1], values[1][1])


def test_the_plain_discriminator_takes_its_published_options() -> None:
    torch.manual_seed(0)
    net = VggDiscriminatorYN(3, True, "avg", False)
    first = net.model[0]
    assert isinstance(first, nn.Conv2d) and (first.bias == 0).all()
    expected = (2 / (1 + 0.2**2) / (3 * 9)) ** 0.5
    assert first.weight.std().item() == pytest.approx(expected, rel=0.1)
    normed = VggDiscriminatorYN(use_spectral_norm=True).eval()
    assert "model.0.weight_orig" in normed.state_dict()
    assert GANLoss("vanilla")(normed(torch.rand(1, 3, 16, 16)), True).isfinite()


def test_even_blur_kernels_lie_on_the_published_grid() -> None:
    grid, xs, _ = mesh_grid(4)
    assert grid.shape == (4, 4, 2) and xs[0].tolist() == [-1, 0, 1, 2]
    assert mesh_grid(5)[1][0].tolist() == [-2, -1, 0, 1, 2]
    kernel = bivariate_Gaussian(4, 1.0, 1.0, 0.0)
    assert np.unravel_index(kernel.argmax(), kernel.shape) == (1, 1) and kernel.sum() == pytest.approx(1)
