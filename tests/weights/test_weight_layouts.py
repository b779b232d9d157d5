"""Weights in the layouts of other frameworks load into the network that they are of, and into no other."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from basicsr.archs import build_network
from basicsr.utils.errors import WeightsError
from basicsr.weights import load_weights, read_entry, read_weights

State = dict[str, Tensor]
RRDB = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 2, "num_grow_ch": 2}
MSR = {"type": "MSRResNet", "num_feat": 4, "num_block": 2}
SPSR = {"type": "SPSRNet", "in_nc": 3, "out_nc": 3, "nf": 4, "nb": 2, "gc": 2}


def old_esrgan(name: str) -> str:
    """ESRGAN's second layout, as in ``RRDB_ESRGAN_x4.pth``."""
    pairs = (("conv_body", "trunk_conv"), ("body.", "RRDB_trunk."), ("rdb", "RDB"), ("conv_up", "upconv"))
    for new, old in (*pairs, ("conv_hr", "HRconv")):
        name = name.replace(new, old)
    return name


def first_esrgan(name: str) -> str:
    """ESRGAN's first layout, as in ``RRDB_ESRGAN_x4_old_arch.pth``."""
    layer, _, leaf = name.rpartition(".")
    numbers = {"conv_first": 0, "conv_body": "1.sub.2", "conv_up1": 3, "conv_up2": 6, "conv_hr": 8, "conv_last": 10}
    if layer in numbers:
        return f"model.{numbers[layer]}.{leaf}"
    return f"model.{layer.replace('body', '1.sub').replace('rdb', 'RDB')}.0.{leaf}"


def old_srresnet(name: str) -> str:
    return name.replace("body.", "recon_trunk.").replace("conv_hr", "HRconv")


def build(block: dict[str, Any], seed: int = 0) -> nn.Module:
    """A network of tensors that are full of random numbers."""
    net = copy.deepcopy(build_once(tuple(block.items())))
    generator = torch.Generator().manual_seed(seed)
    for value in net.state_dict().values():
        value.copy_(torch.rand(value.shape, generator=generator))
    return net


@functools.cache
def build_once(block: tuple[tuple[str, Any], ...]) -> nn.Module:
    return build_network({key: list(value) if isinstance(value, tuple) else value for key, value in block})


def assert_loads(block: dict[str, Any], state: State, expected: nn.Module) -> None:
    net = build(block, seed=1)
    load_weights(net, state)
    loaded = net.state_dict()
    for name, value in expected.state_dict().items():
        assert torch.equal(loaded[name], value), name


PREFIXES = ["", "_orig_mod.", "netG.", "net_g.", "generator.", "module._orig_mod.", "netG.module.", "model."]


@pytest.mark.parametrize(
    ("block", "rename"),
    [(RRDB, str), (RRDB, old_esrgan), (RRDB, first_esrgan), (MSR, str), (MSR, old_srresnet), (SPSR, str)],
    ids=["RRDBNet", "RRDB_trunk", "model.1.sub", "MSRResNet", "recon_trunk", "SPSRNet"],
)
def test_old_names_and_prefixes_are_read(block: dict[str, Any], rename: Callable[[str], str]) -> None:
    net = build(block)
    for prefix in PREFIXES:
        assert_loads(block, {prefix + rename(name): value for name, value in net.state_dict().items()}, net)


def wrap(content: Any, *keys: str) -> Any:
    for key in reversed(keys):
        content = {key: content, "epoch": 3, "optimizer": {"state": {}}}
    return content


@pytest.mark.parametrize(
    "keys",
    [(), ("state_dict",), ("model",), ("net",), ("generator",), ("params",), ("params_ema",), ("model", "state_dict")],
    ids=".".join,
)
def test_wrappers_are_opened(keys: tuple[str, ...], tmp_path: Path) -> None:
    net = build(RRDB)
    torch.save(wrap(net.state_dict(), *keys), tmp_path / "x.pth")
    assert_loads(RRDB, read_weights(tmp_path / "x.pth"), net)
    assert read_entry(tmp_path / "x.pth").key == (keys[-1] if keys else "")


def test_the_generator_is_taken_out_of_a_joint_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    net = build(RRDB)
    joint = {f"generator.{name}": value for name, value in net.state_dict().items()}
    joint |= {"discriminator.conv.weight": torch.zeros(2), "step_counter": torch.zeros(1)}
    torch.save({"state_dict": joint, "meta": {"epoch": 1}}, tmp_path / "x.pth")
    with caplog.at_level(logging.INFO, "basicsr"):
        assert_loads(RRDB, read_weights(tmp_path / "x.pth"), net)
    assert "without the prefix 'generator.' (2 other entries left out)" in caplog.text


def test_the_entry_that_is_asked_for_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    states = {key: build(RRDB, seed).state_dict() for seed, key in enumerate(("params", "params_ema", "best"))}
    torch.save(states, tmp_path / "x.pth")
    for key in (None, *states):
        assert torch.equal(
            read_weights(tmp_path / "x.pth", key)["conv_first.weight"], states[key or "params"]["conv_first.weight"]
        )
    assert read_entry(tmp_path / "x.pth", prefer="params_ema").key == "params_ema"
    with pytest.raises(WeightsError, match=r"no entry 'bset'; it has best, params, params_ema; did you mean best\?"):
        read_weights(tmp_path / "x.pth", "bset")
    del states["params_ema"]
    torch.save(states, tmp_path / "x.pth")
    with caplog.at_level(logging.INFO, "basicsr"):
        assert read_entry(tmp_path / "x.pth", "params_ema").key == "params"
    assert "holds no 'params_ema'; loading 'params' instead" in caplog.text


def test_names_that_the_network_knows_are_left_alone() -> None:
    # SPSRNet's trunk has the names of ESRGAN's first layout, of which weights may start it.
    trunk = {first_esrgan(name): value for name, value in build(RRDB).state_dict().items()}
    net = build(SPSR, seed=1)
    load_weights(net, {name: value for name, value in trunk.items() if "model.10" not in name}, strict=False)
    assert torch.equal(net.state_dict()["model.0.weight"], trunk["model.0.weight"])
    # A spectral critic's weights are not taken for those of the network that it is made of.
    swin = {"img_size": 16, "patch_size": 4, "num_classes": 1, "embed_dim": 8, "depths": (2,), "num_heads": (2,)}
    swin |= {"window_size": 4, "mlp_ratio": 2}
    spectral = build({"type": "SpectralDiscriminator2D", "version": "swin", **swin})
    with pytest.raises(WeightsError, match=r"missing: patch_embed\.proj\.weight"):
        load_weights(build({"type": "SwinTransformer", **swin}), spectral.state_dict())
