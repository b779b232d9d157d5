"""Networks of the package spandrel as generators: names, arguments, sizes and files; and what is said without it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.archs.spandrel_arch import INSTALL, Architectures
from basicsr.evaluation.tiling import size_multiple, tiled_forward
from basicsr.options.reference import write_part
from basicsr.options.validate import validate_options
from basicsr.utils.errors import UserError
from basicsr.utils.parts import names_of
from basicsr.utils.registry import ARCH_REGISTRY

COMPACT = {"type": "spandrel/Compact", "num_feat": 4, "num_conv": 1}
DAT = {"type": "spandrel/DAT", "embed_dim": 16, "depth": [1], "num_heads": [2], "split_size": [8, 8], "upscale": 4}


def problems(network: dict[str, Any], batch: int = 2, scale: int = 4, **train_set: Any) -> list[str]:
    """What is wrong with an option file that trains a generator."""
    options = {
        "name": "a",
        "model_type": "SRModel",
        "scale": scale,
        "network_g": network,
        "datasets": {
            "train": {
                "type": "PairedImageDataset",
                "dataroot_gt": "gt",
                "dataroot_lq": "lq",
                "gt_size": 32,
                "batch_size_per_gpu": batch,
                **train_set,
            }
        },
        "train": {
            "total_iter": 2,
            "optim_g": {"type": "Adam", "lr": 1e-3},
            "scheduler": {"type": "MultiStepLR", "milestones": [1]},
            "pixel_opt": {"type": "L1Loss"},
        },
    }
    return [str(problem) for problem in validate_options(options, with_files=False)[1].problems]


@pytest.fixture
def absent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spandrel cannot be imported."""
    Architectures._classes.cache_clear()
    monkeypatch.setitem(sys.modules, "spandrel", None)


@pytest.mark.usefixtures("absent")
def test_without_the_package_a_block_says_how_to_install_it() -> None:
    told = f"this needs the package spandrel, which is not installed: {INSTALL}"
    assert problems(COMPACT) == [f"network_g.type: {told}"]
    assert problems({"type": "spandrel", "weights": "x.pth"}) == [f"network_g: {told}"]
    assert "spandrel/" not in write_part("networks", only_own=False)
    with pytest.raises(KeyError, match=r"known: .*spandrel/…"):
        ARCH_REGISTRY.get("Xyzzy")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("spandrel/Dat", r"unknown arch 'spandrel/Dat'; did you mean spandrel/DAT"),
        ("spandrel/RGTT", r"did you mean spandrel/RGT"),
        ("DAT", r"unknown arch 'DAT'; did you mean spandrel/DAT\?"),
        ("spandrel/KBNet", r"did you mean spandrel/KBNet_s or spandrel/KBNet_l\?"),
        ("spandrel/xyzzy", r"known after spandrel/: ATD, .*UpCunet4x"),
        ("spandrel/LaMa", r"spandrel/LaMa cannot be trained here: it fills in what a mask hides"),
    ],
)
def test_names_that_are_not_there_are_answered_with_what_is(name: str, message: str) -> None:
    pytest.importorskip("spandrel")
    with pytest.raises(KeyError, match=message):
        ARCH_REGISTRY.get(name)
    (problem,) = problems({"type": name})
    assert problem == f"network_g.type: {ARCH_REGISTRY.explain_missing(name)}"


def test_arguments_are_checked_by_the_constructor() -> None:
    pytest.importorskip("spandrel")
    found = problems({"type": "spandrel/DAT", "embed_dim": "180", "split_sizes": [2, 4], "depth": [2, "x"]})
    assert sorted(found) == [
        "network_g.depth: expected a list of integers, got [2, 'x']",
        "network_g.embed_dim: expected an integer (without quotes), got '180'",
        "network_g.split_sizes: unknown key; did you mean split_size?",
    ]
    assert problems({"type": "spandrel/SAFMN"}) == [
        "network_g.dim: missing, and it has no default: expected an integer"
    ]
    assert (
        problems({"type": "spandrel/DITN", "dim": 12, "ITL_blocks": 1, "SAL_blocks": 1, "ffn_expansion_factor": 1.5})
        == []
    )
    (window,) = problems({"type": "spandrel/SwinIR", "upscale": 4})
    assert (
        window.startswith("network_g.window_size: ") and "img_size 64 is not divisible by its window_size 7" in window
    )


def test_what_does_not_fit_the_file_is_found_before_anything_runs() -> None:
    pytest.importorskip("spandrel")
    assert problems({**COMPACT, "upscale": 2}) == [
        "network_g: enlarges by 2, but the file's scale is 4; it depends on upscale"
    ]
    assert problems({**COMPACT, "upscale": 2}, scale=2) == []
    assert problems({**COMPACT, "num_in_ch": 1, "num_out_ch": 1}) == [
        "network_g: takes images of 1 channels, but those of the data sets have 3"
    ]
    assert problems({**COMPACT, "num_in_ch": 1, "num_out_ch": 1}, color="y") == []
    # Its batch normalisation sees one value of each channel per image.
    assert problems(DAT) == []
    assert problems(DAT, batch=1) == [
        "datasets.train.batch_size_per_gpu: 1, split by train.accumulate_steps 1; "
        "the network's batch norm needs at least 2"
    ]
    (idle,) = problems({"type": "spandrel/DRCT", "depths": [1], "num_heads": [6], "embed_dim": 12}, scale=1)
    assert "makes an image without any of its parameters" in idle


def test_all_names_are_listed_with_their_arguments_beside_ours() -> None:
    pytest.importorskip("spandrel")
    listed = write_part("networks", only_own=False)
    assert "`spandrel/DAT`" in listed and "`split_size`" in listed
    assert "norm_layer" not in names_of(ARCH_REGISTRY.get("spandrel/DAT"))  # a class, which no file can hold
    assert "spandrel/" not in write_part("networks")


def test_images_of_any_size_are_taken_whole_and_in_tiles() -> None:
    pytest.importorskip("spandrel")
    torch.manual_seed(0)
    net = build_network({"type": "spandrel/CRAFT", "embed_dim": 12, "depths": [1], "num_heads": [2]}).eval()
    assert size_multiple(net) == 16
    seen: list[tuple[int, ...]] = []
    image = torch.rand(1, 3, 37, 51)
    with torch.no_grad():
        assert net(image).shape == (1, 3, 148, 204)
        net.register_forward_pre_hook(lambda _, inputs: seen.append(tuple(inputs[0].shape[-2:])))
        assert tiled_forward(net, image, 32, 8, 4, size_multiple(net)).shape == (1, 3, 148, 204)
    assert len(seen) > 1 and not any(side % 16 for sides in seen for side in sides)


def test_where_spandrel_does_not_know_the_sizes_they_are_found(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("spandrel")
    net = build_network({"type": "spandrel/DRUNet", "in_nc": 4, "out_nc": 3, "nc": [4, 4, 4, 4], "nb": 1})
    assert size_multiple(net) == 8 and net(torch.rand(1, 3, 17, 9)).shape == (1, 3, 17, 9)
    assert "spandrel does not recognise spandrel/DRUNet of these arguments" in caplog.text


def test_of_weights_that_would_be_read_otherwise_there_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("spandrel")
    build_network(COMPACT)
    assert "instead of" not in caplog.text
    build_network({"type": "spandrel/RCAN", "n_resgroups": 1, "n_resblocks": 1, "n_feats": 16, "rgb_range": 1})
    assert "spandrel reads rgb_range: 255 instead of 1 from weights of this spandrel/RCAN" in caplog.text


def test_networks_leave_their_input_as_it_is() -> None:
    spandrel = pytest.importorskip("spandrel")
    arguments = {"n_resgroups": 1, "n_resblocks": 1, "n_feats": 16}
    theirs = spandrel.architectures.RCAN.RCAN(**arguments)
    image = torch.rand(1, 3, 8, 8)
    kept = image.clone()
    build_network({"type": "spandrel/RCAN", **arguments})(image)
    assert torch.equal(image, kept)
    theirs(image)  # spandrel's own multiplies it by 255
    assert not torch.equal(image, kept)


def test_idle_parameters_are_known() -> None:
    pytest.importorskip("spandrel")
    swift = build_network({"type": "spandrel/SwiftSRGAN", "num_channels": 4, "num_blocks": 1})
    assert swift.has_idle_parameters and not build_network(COMPACT).has_idle_parameters


def save(net: nn.Module, path: Path) -> str:
    torch.save({"params_ema": net.state_dict()}, path)
    return str(path)


def test_a_file_tells_architecture_arguments_and_weights(tmp_path: Path) -> None:
    pytest.importorskip("spandrel")
    torch.manual_seed(1)
    net = build_network(COMPACT).eval()
    file = save(net, tmp_path / "x.pth")
    copy = build_network({"type": "spandrel", "weights": file}).eval()
    image = torch.rand(1, 3, 9, 7)
    with torch.no_grad():
        assert torch.equal(net(image), copy(image))
    assert problems({"type": "spandrel", "weights": file}) == []
    assert problems({"type": "spandrel", "weights": file}, scale=2) == [
        "network_g: enlarges by 4, but the file's scale is 2"
    ]


def test_files_that_hold_no_generator_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("spandrel")
    missing = str(tmp_path / "no.pth")
    assert problems({"type": "spandrel", "weights": missing}) == [
        f"network_g.weights: there is no weights file {missing}; put it there or change the path"
    ]
    other = save(nn.Linear(2, 2), tmp_path / "linear.pth")
    assert problems({"type": "spandrel", "weights": other}) == [
        f"network_g.weights: spandrel does not recognise a network in {other}"
    ]
    text = tmp_path / "text.pth"
    text.write_text("nothing")
    (problem,) = problems({"type": "spandrel", "weights": str(text)})
    assert problem.startswith(f"network_g.weights: spandrel does not recognise a network in {text} (")
    with pytest.raises(UserError, match="there is no weights file"):
        build_network({"type": "spandrel", "weights": missing})
