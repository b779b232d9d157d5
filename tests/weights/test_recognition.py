"""Every architecture of generators is told by its weights, and what does not fit is said in its terms."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from basicsr.archs import build_network
from basicsr.utils.errors import WeightsError
from basicsr.weights import load_weights
from basicsr.weights.architectures import recognise

RRDB = {"num_in_ch": 3, "num_out_ch": 3, "scale": 4, "num_feat": 8, "num_block": 2, "num_grow_ch": 4}
SWINIR = {
    "img_size": 16,
    "in_chans": 3,
    "embed_dim": 12,
    "depths": [2, 1],
    "num_heads": [2, 2],
    "window_size": 4,
    "mlp_ratio": 4.0,
    "qkv_bias": True,
    "ape": False,
    "patch_norm": True,
    "upscale": 1,
    "upsampler": "",
    "resi_connection": "1conv",
}
COMPACT = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 6, "num_conv": 2, "upscale": 4, "act_type": "prelu"}
MSR = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 3, "upscale": 4}
EDSR = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 8, "num_block": 3, "upscale": 4, "res_scale": 1.0}
RCAN = {
    "num_in_ch": 3,
    "num_out_ch": 3,
    "num_feat": 8,
    "num_group": 2,
    "num_block": 3,
    "squeeze_factor": 4,
    "upscale": 4,
}
SPSR = {"in_nc": 3, "out_nc": 3, "nf": 8, "nb": 2, "gc": 4, "upscale": 4}


@pytest.mark.parametrize(
    ("name", "base", "change"),
    [
        *(("RRDBNet", RRDB, {"scale": scale}) for scale in (1, 2, 4)),
        ("RRDBNet", RRDB, {"num_in_ch": 1, "num_out_ch": 1, "num_block": 11}),
        ("RRDBNetS", RRDB, {"scale": 8, "last_kernel_size": 3}),
        ("RRDBNetS", RRDB, {"scale": 16, "last_kernel_size": 5}),
        ("SwinIR", SWINIR, {}),
        ("SwinIR", SWINIR, {"upsampler": "pixelshuffle", "upscale": 4}),
        ("SwinIR", SWINIR, {"upsampler": "pixelshuffle", "upscale": 3, "num_heads": [2, 3]}),
        ("SwinIR", SWINIR, {"upsampler": "pixelshuffledirect", "upscale": 3, "mlp_ratio": 2.0}),
        ("SwinIR", SWINIR, {"upsampler": "nearest+conv", "upscale": 4, "resi_connection": "3conv"}),
        ("SwinIR", SWINIR, {"upsampler": "nearest+conv", "upscale": 2, "qkv_bias": False, "patch_norm": False}),
        ("SRVGGNetCompact", COMPACT, {}),
        ("SRVGGNetCompact", COMPACT, {"upscale": 2, "act_type": "relu", "num_conv": 11}),
        ("SRVGGNetCompact", COMPACT, {"upscale": 3, "num_in_ch": 1, "num_out_ch": 1}),
        *(("MSRResNet", MSR, {"upscale": scale}) for scale in (2, 3, 4)),
        *(("EDSR", EDSR, {"upscale": scale}) for scale in (2, 3, 4)),
        ("EDSR", EDSR, {"num_feat": 256, "num_block": 1, "res_scale": 0.1}),
        *(("RCAN", RCAN, {"upscale": scale}) for scale in (2, 3, 4)),
        *(("SPSRNet", SPSR, {"upscale": scale}) for scale in (2, 4, 8)),
    ],
)
@pytest.mark.parametrize("prefix", ["", "netG.module."])
def test_an_architecture_is_told_by_its_weights(
    name: str, base: dict[str, Any], change: dict[str, Any], prefix: str
) -> None:
    block = {"type": name, **base, **change}
    with torch.device("meta"):
        state = build_network(block).state_dict()
    assert recognise({prefix + key: value for key, value in state.items()}) == block


def test_weights_of_something_else_are_not_guessed_at() -> None:
    for layers in ([nn.Linear(3, 4)], [nn.Conv2d(3, 4, 3), nn.Conv2d(4, 5, 3)]):
        assert recognise(nn.Sequential(*layers).state_dict()) is None
    critic = build_network({"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4})
    assert recognise(critic.state_dict()) is None


def refusal(name: str, options: dict[str, Any], state: dict[str, torch.Tensor]) -> str:
    with pytest.raises(WeightsError) as caught:
        load_weights(build_network({"type": name, **options}), state, source="f.pth")
    return str(caught.value)


def test_a_file_that_does_not_fit_says_what_it_looks_like() -> None:
    swinir = build_network({"type": "SwinIR", **SWINIR, "upsampler": "pixelshuffle", "upscale": 4}).state_dict()
    text = refusal("RRDBNet", RRDB, swinir)
    assert "f.pth does not fit RRDBNet: it looks like SwinIR (img_size 16, " in text
    assert "window_size 4" in text and "in the file, RRDBNet (num_in_ch 3, " in text
    assert "missing: body.0.rdb1.conv1.weight" in text
    larger = build_network({"type": "RRDBNet", **RRDB, "num_block": 3, "num_feat": 10}).state_dict()
    expected = ": num_feat is 10 in the file, 8 in the options; num_block is 3 in the file, 2 in the options:"
    assert expected in refusal("RRDBNet", RRDB, larger)
    # Nothing is said where nothing is known.
    assert "does not fit RRDBNet:\n" in refusal("RRDBNet", RRDB, {"some.weight": torch.zeros(1)})


def test_what_only_spandrel_knows_is_called_by_its_name() -> None:
    pytest.importorskip("spandrel")
    from spandrel.architectures.SPAN import SPAN

    state = SPAN(num_in_ch=3, num_out_ch=3, feature_channels=8, upscale=2).state_dict()
    assert "does not fit RRDBNet: it looks like SPAN in the file, RRDBNet (" in refusal("RRDBNet", RRDB, state)
