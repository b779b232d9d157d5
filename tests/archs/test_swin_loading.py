"""State dicts of other image and window sizes, without buffers, and with or without a prefix."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from small_swin import SMALL, build
from torch import nn

from basicsr.archs import SpectralDiscriminator, SpectralDiscriminator2D, SwinIR
from basicsr.archs import window_attention as windows

RESIZED = [
    {"window_size": 8},
    {"window_size": 2},
    {"img_size": 32},
    {"img_size": 24, "window_size": 6},
    {"img_size": 32, "window_size": 8},
    {"img_size": (16, 32)},
]


@pytest.mark.parametrize("options", RESIZED, ids=str)
@pytest.mark.parametrize("ape", [False, True])
def test_state_of_another_size_loads_strictly(options: dict[str, Any], ape: bool) -> None:
    saved, net = build(ape=ape), build(ape=ape, **options)
    state = saved.state_dict()
    before = copy.deepcopy(state)
    fresh = {name: value.clone() for name, value in net.state_dict().items()}
    result = net.load_state_dict(state, strict=True)
    assert not result.missing_keys and not result.unexpected_keys
    assert list(state) == list(before)
    assert all(torch.equal(state[name], before[name]) for name in before)
    for name, value in net.state_dict().items():
        if name.endswith(("relative_position_index", "attn_mask")):
            assert torch.equal(value, fresh[name])
        elif value.shape == before[name].shape:
            assert torch.equal(value, before[name])
    size = options.get("img_size", 16)
    rows, cols = (size, size) if isinstance(size, int) else size
    assert torch.isfinite(net.eval()(torch.rand(1, 3, rows, cols))).all()


def test_enlarged_table_keeps_its_values_in_the_middle() -> None:
    table = torch.randn(9, 3)
    resized = windows.resize_square_map(table, (7, 7))
    assert resized.shape == (49, 3)
    torch.testing.assert_close(resized.view(7, 7, 3)[3, 3], table.view(3, 3, 3)[1, 1], rtol=1e-5, atol=1e-6)
    assert windows.resize_square_map(table, (3, 3)) is table


def test_state_without_buffers_loads_strictly() -> None:
    state = {
        name: value
        for name, value in build().state_dict().items()
        if not name.endswith(("relative_position_index", "attn_mask"))
    }
    build().load_state_dict(state, strict=True)


def test_state_loads_into_a_network_on_the_meta_device() -> None:
    saved = build().eval()
    with torch.device("meta"):
        net = build(drop_path_rate=0.1).eval()
    net.load_state_dict(saved.state_dict(), strict=True, assign=True)
    x = torch.rand(1, 3, 16, 16)
    assert torch.equal(net(x), saved(x))


def test_state_of_another_width_is_refused_by_name() -> None:
    with pytest.raises(
        RuntimeError, match=r"size mismatch for layers\.0\.blocks\.0\.attn\.relative_position_bias_table"
    ):
        build().load_state_dict(build(num_heads=[4, 2]).state_dict())
    with pytest.raises(RuntimeError, match=r"Missing key.*head\.weight"):
        build().load_state_dict({name: value for name, value in build().state_dict().items() if "head.w" not in name})


@pytest.mark.parametrize("nested", [False, True])
def test_spectral_discriminators_load_with_and_without_prefix(nested: bool) -> None:
    pairs = [
        (lambda: SpectralDiscriminator2D(**SMALL), 16),
        (lambda: SpectralDiscriminator2D(**SMALL | {"window_size": 8}), 16),
        (lambda: SpectralDiscriminator(img_size=16), 16),
    ]
    for make, size in pairs:
        saved, x = make().eval(), torch.rand(1, 3, size, size)
        inner = saved.net.state_dict()
        names = list(inner)
        for state in (saved.state_dict(), inner):
            net = make().eval()
            outer = nn.ModuleDict({"critic": net}) if nested else net
            outer.load_state_dict({("critic." if nested else "") + key: value for key, value in state.items()})
            assert torch.equal(net(x), saved(x))
        assert list(inner) == names
    with pytest.raises(RuntimeError, match="Unexpected key"):
        SpectralDiscriminator2D(**SMALL).load_state_dict({**inner, "other": torch.zeros(1)})


def test_swinir_of_another_training_size_loads_strictly() -> None:
    options = {"embed_dim": 8, "depths": [2], "num_heads": [2], "mlp_ratio": 2}
    saved = SwinIR(img_size=16, window_size=4, **options).eval()
    larger = SwinIR(img_size=32, window_size=4, **options).eval()
    larger.load_state_dict(saved.state_dict(), strict=True)
    x = torch.rand(1, 3, 16, 16)
    torch.testing.assert_close(larger(x), saved(x), rtol=1e-5, atol=1e-6)
    SwinIR(img_size=16, window_size=8, **options).load_state_dict(saved.state_dict(), strict=True)
