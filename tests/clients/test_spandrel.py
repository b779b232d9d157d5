"""Every architecture of spandrel that can be trained trains, validates, resumes and opens there again."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import yaml
from tiny_run import PROJECT, close_log_files, write_options
from torch import nn

from basicsr import test, train
from basicsr.analysis.generators import Generator, load_generator
from basicsr.archs import build_network
from basicsr.archs.spandrel_arch import PREFIX, REFUSED
from basicsr.utils.fields import fields_of
from basicsr.utils.parts import declare
from basicsr.utils.registry import ARCH_REGISTRY
from basicsr.weights import load_weights, read_weights

spandrel = pytest.importorskip("spandrel")

pytestmark = pytest.mark.clients

PAGE = (PROJECT / "docs/extend.md").read_text()

LARGE = {"FBCNN", "IPT", "KBNet_l", "KBNet_s", "Uformer"}
"""Names whose defaults take long to build."""

SWIN = {"embed_dim": 12, "depths": [2], "num_heads": [2], "window_size": 8, "mlp_ratio": 2.0, "upscale": 4}
PIXELSHUFFLE = {**SWIN, "upsampler": "pixelshuffle"}

# The scale and the smallest arguments of each name that spandrel recognises in weights.
FAMILIES: dict[str, tuple[int, dict[str, Any]]] = {
    "ATD": (4, {**PIXELSHUFFLE, "num_tokens": 8, "reducted_dim": 2}),
    "AuraSR": (
        4,
        {
            "dim": 8,
            "init_dim": 8,
            "image_size": None,
            "input_image_size": None,
            "style_network": {"dim_in": 8, "dim_out": 32, "depth": 1},
            "self_attn_dim_head": 8,
            "attn_depths": [2, 2, 2, 1, 1],
            "mid_attn_depth": 1,
            "num_conv_kernels": 2,
            "skip_connect_scale": 0.4,
        },
    ),
    "CRAFT": (4, {"embed_dim": 12, "depths": [2], "num_heads": [2]}),
    "Compact": (4, {"num_feat": 8, "num_conv": 1}),
    "DAT": (4, {"embed_dim": 16, "depth": [2], "num_heads": [2], "split_size": [8, 8], "upscale": 4}),
    "DCTLSA": (4, {"nf": 10}),
    "DITN": (4, {"dim": 12, "ITL_blocks": 1, "SAL_blocks": 1}),
    "DRCT": (4, {**PIXELSHUFFLE, "depths": [6], "window_size": 16, "gc": 4}),
    "DRUNet": (1, {"in_nc": 4, "out_nc": 3, "nc": [8, 8, 8, 8], "nb": 2}),
    "DnCNN": (1, {"in_nc": 3, "out_nc": 3, "nc": 8, "nb": 4}),
    "ESRGAN": (4, {"num_filters": 8, "num_blocks": 1}),
    "FBCNN": (1, {"nc": [8, 8, 8, 512], "nb": 2}),
    "FDAT": (
        4,
        {"embed_dim": 16, "num_groups": 1, "depth_per_group": 1, "num_heads": 2, "mid_dim": 8},
    ),
    "FFTformer": (1, {"dim": 8, "num_blocks": [1, 1, 1], "num_refinement_blocks": 1}),
    "GRL": (
        1,
        {
            "embed_dim": 12,
            "depths": [2],
            "num_heads_window": [2],
            "num_heads_stripe": [2],
            "stripe_shift": True,
            "anchor_window_down_factor": 4,
        },
    ),
    "HAT": (4, {**PIXELSHUFFLE, "window_size": 16, "squeeze_factor": 6}),
    "HVICIDNet": (1, {"channels": [8, 8, 16, 32]}),
    "IPT": (4, {"n_feats": 4, "patch_size": 12, "num_layers": 1, "scale": [4]}),
    "KBNet_l": (1, {"num_blocks": [1, 1, 1, 1], "num_refinement_blocks": 1, "heads": [1, 1, 1, 1]}),
    "KBNet_s": (1, {"width": 8, "middle_blk_num": 1, "enc_blk_nums": [1, 1], "dec_blk_nums": [1, 1]}),
    "MMRealSR": (
        4,
        {
            "num_in_ch": 3,
            "num_out_ch": 3,
            "num_feat": 8,
            "num_block": 1,
            "num_grow_ch": 4,
            "num_feats": [8, 8, 8, 8],
            "num_blocks": [1, 1, 1, 1],
        },
    ),
    "MixDehazeNet": (1, {"embed_dims": [8, 8, 8, 8, 8], "depths": [1, 1, 1, 1, 1]}),
    "MoESR": (4, {"dim": 12, "n_blocks": 1, "n_block": 1, "expansion_factor": 2.5}),
    "MoSR": (4, {"n_block": 1, "dim": 16}),
    "NAFNet": (1, {"width": 8, "enc_blk_nums": [1], "dec_blk_nums": [1]}),
    "OmniSR": (4, {"num_feat": 16}),
    "PLKSR": (4, {"dim": 8, "n_blocks": 1, "split_ratio": 0.5}),
    "RCAN": (4, {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}),
    "RGT": (4, {"embed_dim": 12, "depth": [2], "num_heads": [2], "upscale": 4}),
    "RealPLKSR": (4, {"dim": 8, "n_blocks": 1, "split_ratio": 0.5}),
    "RetinexFormer": (1, {"n_feat": 8, "stage": 1}),
    "SAFMN": (4, {"dim": 8, "n_blocks": 1}),
    "SAFMNBCIE": (1, {"dim": 8, "n_blocks": 1, "num_layers": 1}),
    "SCUNet": (1, {"config": [1, 1, 1, 1, 1, 1, 1]}),
    "SPAN": (4, {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8}),
    "SeemoRe": (4, {"num_experts": 2, "num_layers": 2, "embedding_dim": 12}),
    "SwiftSRGAN": (4, {"num_channels": 8, "num_blocks": 1}),
    "Swin2SR": (4, PIXELSHUFFLE),
    "SwinIR": (4, PIXELSHUFFLE),
    "Uformer": (1, {"embed_dim": 8, "depths": [1] * 9, "num_heads": [1] * 9}),
    "UpCunet2x": (2, {}),
    "UpCunet2x_fast": (2, {}),
    "UpCunet3x": (3, {}),
    "UpCunet4x": (4, {}),
}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    close_log_files()


def write(root: Path, network: dict[str, Any], scale: int, total_iter: int = 2, **more: Any) -> Path:
    """An option file: two iterations on crops of 36 pixels, a checkpoint and a validation after each."""
    datasets = {
        key: {
            "type": "PairedImageDataset",
            "dataroot_gt": str(root / f"data/{key}/HR"),
            "dataroot_lq": str(root / f"data/{key}/x{scale}"),
        }
        for key in ("train", "val")
    }
    datasets["train"] |= {"gt_size": 36, "num_worker_per_gpu": 0, "batch_size_per_gpu": 2, "use_hflip": True}
    file = write_options(
        root,
        model_type="SRModel",
        scale=scale,
        datasets=datasets,
        train={"total_iter": total_iter, "ema_decay": 0.5},
        val={"val_freq": 1, "save_img": False},
        logger={"print_freq": 1, "save_checkpoint_freq": 1},
        **more,
    )
    options = yaml.safe_load(file.read_text())
    options["network_g"] = network
    del options["network_d"], options["train"]["gan_opt"], options["train"]["optim_d"]
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    for key in ("train", "val"):
        folder = root / f"data/{key}"
        (folder / f"x{scale}").mkdir(exist_ok=True)
        for index, path in enumerate(sorted(folder.glob("HR/*.png"))):
            if key == "val" and index:
                path.unlink()
                continue
            image = cv2.imread(str(path))[:36, :36]
            cv2.imwrite(str(path), image)
            small = cv2.resize(image, (36 // scale, 36 // scale), interpolation=cv2.INTER_AREA)
            cv2.imwrite(str(folder / f"x{scale}" / path.name), small)
    return file


def run(file: Path, root: Path, *flags: str) -> dict[str, torch.Tensor]:
    """Trains; the weights that result."""
    assert train.main(["-opt", str(file), *flags], root) == 0
    close_log_files()
    latest = torch.load(root / "experiments/tiny/models/net_g_latest.pth", weights_only=True)
    return {f"{key}.{name}": value for key, state in latest.items() for name, value in state.items()}


def test_the_table_holds_every_name_that_is_not_refused() -> None:
    names = {name.removeprefix(f"{PREFIX}/") for name in ARCH_REGISTRY.list_all() if name.startswith(f"{PREFIX}/")}
    assert names == FAMILIES.keys()
    identifiers = {support.architecture.id for support in spandrel.MAIN_REGISTRY.architectures("insertion")}
    assert identifiers - FAMILIES.keys() == {*REFUSED, "KBNet", "RealCUGAN"}


@pytest.mark.parametrize("name", FAMILIES)
def test_it_trains_validates_resumes_and_opens_in_spandrel(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scale, arguments = FAMILIES[name]
    block = {"type": f"{PREFIX}/{name}", **arguments}
    file = write(tmp_path, block, scale)
    with caplog.at_level(logging.INFO):
        whole = run(file, tmp_path)
        assert "will not open" not in caplog.text

    # From the first checkpoint on, it comes to the same bits.
    folder = tmp_path / "experiments/tiny"
    (folder / "training_states/2.state").unlink()
    first = torch.load(folder / "models/net_g_1.pth", weights_only=True)["params"]
    with caplog.at_level(logging.INFO):
        resumed = run(file, tmp_path, "--auto_resume")
    assert f"Resuming from {folder / 'training_states/1.state'}: iteration 1" in caplog.text
    assert whole.keys() == resumed.keys()
    assert all(torch.equal(value, resumed[key]) for key, value in whole.items())
    assert any(not torch.equal(value, whole[f"params.{key}"]) for key, value in first.items())

    # Spandrel opens the averaged weights.
    path = folder / "models/net_g_latest.pth"
    descriptor = spandrel.ModelLoader("cpu").load_from_file(path)
    assert descriptor.scale == scale
    net = build_network(block).eval()
    load_weights(net, read_weights(path, "params_ema"))
    image = torch.rand(1, 3, 17, 23, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.manual_seed(0)  # AuraSR draws a style
        ours = net(image.clone())
        torch.manual_seed(0)
        theirs = descriptor(image.clone())
    assert ours.shape == (1, 3, 17 * scale, 23 * scale)
    torch.testing.assert_close(ours.clamp(0, 1), theirs, rtol=0, atol=1e-6)


def test_a_file_of_weights_is_trained_on_tested_in_tiles_and_analysed(tmp_path: Path) -> None:
    scale, arguments = FAMILIES["CRAFT"]
    torch.manual_seed(5)
    net = build_network({"type": f"{PREFIX}/CRAFT", **arguments}).eval()
    torch.save({"params_ema": net.state_dict()}, tmp_path / "craft.pth")
    block = {"type": PREFIX, "weights": str(tmp_path / "craft.pth")}
    file = write(tmp_path, block, scale)
    options = yaml.safe_load(file.read_text())
    options["train"]["optim_g"]["lr"] = 1e-6
    options["val"].update(tile=16, tile_overlap=8)
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    trained = run(file, tmp_path)
    start = nn.utils.parameters_to_vector(net.parameters())
    names = [f"params.{name}" for name, _ in net.named_parameters()]
    moved = (nn.utils.parameters_to_vector(trained[name] for name in names) - start).abs()
    assert 0 < moved.max() < 1e-4

    # Tested as it is, without other weights.
    del options["train"]
    options["datasets"] = {"test_1": {**options["datasets"]["val"], "name": "tiny_val"}}
    options["path"] = {}
    file = tmp_path / "test.yml"
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    assert test.main(["-opt", str(file)], tmp_path) == 0
    results = json.loads((tmp_path / "results/tiny/metrics.json").read_text())["tiny_val"]
    assert results["mean"]["net_g"]["psnr"] > 0

    # The run's weights are analysed as the architecture of its option file.
    model = load_generator(str(tmp_path / "experiments/tiny/models/net_g_latest.pth"))
    assert isinstance(model, Generator) and model.scale == scale
    assert model(torch.rand(1, 3, 20, 33)).shape == (1, 3, 20 * scale, 33 * scale)


@pytest.mark.parametrize(
    "row", re.findall(r"^\| `spandrel/(\w+)` \| (.*?) \|", PAGE, re.MULTILINE), ids=lambda row: row[0]
)
def test_the_page_says_what_the_defaults_of_each_name_do(row: tuple[str, str]) -> None:
    name, said = row
    required = [
        key for key, field in fields_of(declare(ARCH_REGISTRY.get(f"{PREFIX}/{name}"))).items() if field.is_required()
    ]
    if required:
        assert said == f"needs {', '.join(f'`{key}`' for key in required)}"
    elif said.startswith("needs "):
        with pytest.raises(ValueError, match=re.escape(f"{PREFIX}/{name}")):
            build_network({"type": f"{PREFIX}/{name}"})
        scale, _ = FAMILIES[name]
        arguments = yaml.safe_load("{" + said.removeprefix("needs ").replace("`", "") + "}")
        assert build_network({"type": f"{PREFIX}/{name}", **arguments}).output_scale == scale
    elif name not in LARGE:
        net = build_network({"type": f"{PREFIX}/{name}"})
        notes = [f"×{net.output_scale}"]
        notes += ["images of 1 channel"] if net.in_channels == 1 else []
        notes += [f"batches of {net.smallest_batch}"] if net.smallest_batch > 1 else []
        assert said == ", ".join(notes)


def test_the_page_has_a_row_for_each_name_and_for_what_is_refused() -> None:
    assert set(re.findall(r"^\| `spandrel/(\w+)` \|", PAGE, re.MULTILINE)) == FAMILIES.keys()
    assert dict(re.findall(r"^- `(\w+)` (.*)\.$", PAGE, re.MULTILINE)).items() >= REFUSED.items()
