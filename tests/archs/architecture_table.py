"""The architectures under test: a small configuration each, and other values for every constructor argument."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from basicsr import archs

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Architecture:
    """A small configuration, other values for every argument, and what comes out for an input shape."""

    name: str
    base: dict[str, Any]
    variants: dict[str, list[Any]]
    shape: Callable[[dict[str, Any]], Shape]
    expected: Callable[[dict[str, Any]], Shape]
    together: dict[str, dict[str, Any]] = field(default_factory=dict)  # what must change along with an argument
    broken: list[tuple[dict[str, Any], str]] = field(default_factory=list)  # values and a part of the message

    def configurations(self) -> Iterator[tuple[str, dict[str, Any]]]:
        yield f"{self.name}-base", self.base
        for argument, values in self.variants.items():
            for value in values:
                changed = self.base | {argument: value} | self.together.get(argument, {})
                yield f"{self.name}-{argument}={value}", changed

    def build(self, **options: Any) -> nn.Module:
        return archs.build_network({"type": self.name, **options})


def square(side: int, channels: str = "num_in_ch") -> Callable[[dict[str, Any]], Shape]:
    return lambda options: (2, options.get(channels, 3), side, side)


def enlarged(height: int, width: int, key: str = "scale") -> Callable[[dict[str, Any]], Shape]:
    return lambda o: (2, o.get("num_out_ch", 3), height * o.get(key, 4), width * o.get(key, 4))


RRDB = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 6, "num_block": 1, "num_grow_ch": 4}
SWIN = {
    "img_size": 16,
    "patch_size": 2,
    "num_classes": 1,
    "embed_dim": 8,
    "depths": [2, 1],
    "num_heads": [2, 2],
    "window_size": 4,
    "mlp_ratio": 2,
}
SWIN_VARIANTS: dict[str, list[Any]] = {
    "img_size": [32, (16, 32)],
    "patch_size": [1, 4],
    "num_classes": [3],
    "embed_dim": [12],
    "depths": [[1], [3, 1], [1, 1, 2]],
    "num_heads": [[1, 4]],
    "window_size": [1, 2, 8, 16],
    "mlp_ratio": [0.5, 4],
    "qkv_bias": [False],
    "qk_scale": [0.3],
    "drop_rate": [0.2],
    "attn_drop_rate": [0.2],
    "drop_path_rate": [0.0, 0.5],
    "ape": [True],
    "patch_norm": [False],
    "use_checkpoint": [True],
    "fused_window_process": [True],
    "patch_output": [True],
}
SWIN_BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"patch_size": 3}, "patch_size 3 does not divide img_size 16x16"),
    ({"window_size": 3}, "window_size 3 does not divide the map of 8x8 tokens"),
    ({"img_size": 18, "window_size": 9}, "9x9 tokens in stage 1 cannot be halved"),
    ({"num_heads": [3, 2]}, "8 channels cannot be divided among 3 heads"),
    ({"num_heads": [2]}, "one entry per stage"),
    ({"depths": [0, 1]}, "depths must be a positive integer, got 0"),
    ({"drop_path_rate": 1.0}, "drop_path_rate must be at least 0 and less than 1"),
    ({"embed_dim": 0}, "embed_dim must be a positive integer"),
    ({"mlp_ratio": 0}, "mlp_ratio must be positive"),
    ({"img_size": [16, 16, 16]}, "pair of integers"),
]


def swin_heads(options: dict[str, Any]) -> Shape:
    rows, cols = swin_size(options)[-2:]
    shrink = options["patch_size"] * 2 ** (len(options["depths"]) - 1)
    tokens = (rows // shrink) * (cols // shrink) if options.get("patch_output") else 1
    return (2, options["num_classes"], tokens)


def swin_size(options: dict[str, Any]) -> Shape:
    size = options["img_size"]
    return (2, options.get("in_chans", 3), *((size, size) if isinstance(size, int) else size))


RESIDUAL_BROKEN: list[tuple[dict[str, Any], str]] = [
    ({"upscale": 6}, "upscale must be 3 or a power of 2, got 6"),
    ({"img_range": 0.0}, "img_range must be positive"),
    ({"rgb_mean": [0.5]}, "rgb_mean must be three numbers, got [0.5]"),
    ({"num_feat": 0}, "num_feat must be a positive integer"),
]

ARCHITECTURES = [
    Architecture(
        "RRDBNet",
        RRDB,
        {
            "num_in_ch": [1],
            "num_out_ch": [1],
            "scale": [1, 2],
            "num_feat": [5],
            "num_block": [2],
            "num_grow_ch": [3],
        },
        square(8),
        enlarged(8, 8),
        broken=[
            ({"scale": 3}, "RRDBNet covers scale 1, 2 and 4, RRDBNetS 8 and 16; got 3"),
            ({"num_feat": 0}, "num_feat must be a positive integer, got 0"),
            ({"num_block": -1}, "num_block must be a positive integer, got -1"),
            ({"num_grow_ch": True}, "num_grow_ch must be a positive integer, got True"),
        ],
    ),
    Architecture(
        "RRDBNetS",
        RRDB | {"scale": 8},
        {
            "num_in_ch": [1],
            "num_out_ch": [1],
            "scale": [16],
            "num_feat": [5],
            "num_block": [2],
            "num_grow_ch": [3],
            "last_kernel_size": [1, 5],
        },
        square(3),
        enlarged(3, 3),
        broken=[({"scale": 4}, "RRDBNetS 8 and 16; got 4"), ({"last_kernel_size": 4}, "must be odd")],
    ),
    Architecture(
        "MSRResNet",
        {"num_feat": 6, "num_block": 1},
        {
            "num_in_ch": [1],
            "num_out_ch": [1],
            "num_feat": [5],
            "num_block": [2],
            "upscale": [2, 3],
        },
        square(5),
        enlarged(5, 5, "upscale"),
        together={"num_out_ch": {"num_in_ch": 1}},
        broken=[({"upscale": 5}, "upscale 2, 3 and 4"), ({"num_in_ch": 4}, "num_in_ch must be 1 or equal num_out_ch")],
    ),
    Architecture(
        "EDSR",
        {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 6, "num_block": 1},
        {
            "num_in_ch": [1],
            "num_out_ch": [1],
            "num_feat": [5],
            "num_block": [2],
            "upscale": [1, 2, 3, 8],
            "res_scale": [0.1],
            "img_range": [1.0],
            "rgb_mean": [[0.4, 0.3, 0.2]],
        },
        square(5),
        enlarged(5, 5, "upscale"),
        broken=RESIDUAL_BROKEN + [({"num_block": 0}, "num_block must be a positive integer, got 0")],
    ),
    Architecture(
        "RCAN",
        {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 6, "num_group": 1, "num_block": 1, "squeeze_factor": 2},
        {
            "num_in_ch": [1],
            "num_out_ch": [1],
            "num_feat": [5],
            "num_group": [2],
            "num_block": [2],
            "squeeze_factor": [1, 6],
            "upscale": [1, 2, 3, 8],
            "res_scale": [0.1],
            "img_range": [1.0],
            "rgb_mean": [[0.4, 0.3, 0.2]],
        },
        square(5),
        enlarged(5, 5, "upscale"),
        broken=RESIDUAL_BROKEN + [({"squeeze_factor": 7}, "squeeze_factor 7 leaves none of the 6 channels")],
    ),
    Architecture(
        "ECBSR",
        {
            "num_in_ch": 3,
            "num_out_ch": 3,
            "num_block": 1,
            "num_channel": 4,
            "with_idt": False,
            "act_type": "prelu",
            "scale": 2,
        },
        {
            "num_in_ch": [1],
            "num_out_ch": [1],
            "num_block": [0, 2],
            "num_channel": [3],
            "with_idt": [True],
            "act_type": ["relu", "rrelu", "softplus", "linear"],
            "scale": [1, 3, 4],
        },
        square(5),
        enlarged(5, 5),
        together={"num_out_ch": {"num_in_ch": 1}},
        broken=[
            ({"act_type": "gelu"}, "act_type must be one of prelu, relu, rrelu, softplus, linear"),
            ({"num_block": -1}, "num_block must not be negative"),
            ({"num_in_ch": 2}, "num_in_ch must be 1 or equal num_out_ch"),
            ({"scale": 0}, "scale must be a positive integer"),
        ],
    ),
    Architecture(
        "RIDNet",
        {"in_channels": 3, "mid_channels": 16, "out_channels": 3, "num_block": 1},
        {
            "in_channels": [1],
            "mid_channels": [20],
            "out_channels": [1],
            "num_block": [2],
            "img_range": [1.0],
            "rgb_mean": [[0.4, 0.3, 0.2]],
            "rgb_std": [[0.5, 1, 2]],
        },
        square(6, "in_channels"),
        lambda options: (2, options["out_channels"], 6, 6),
        together={"out_channels": {"in_channels": 1}},
        broken=[
            ({"in_channels": 2}, "in_channels must be 1 or equal out_channels"),
            ({"mid_channels": 8}, "mid_channels must be at least 16, got 8"),
            ({"rgb_mean": [0.5]}, "rgb_mean must be three numbers"),
            ({"rgb_std": [1.0, 1.0, 0.0]}, "rgb_std must be three positive numbers"),
        ],
    ),
    Architecture(
        "SRVGGNetCompact",
        {"num_feat": 6, "num_conv": 1},
        {
            "num_in_ch": [1],
            "num_out_ch": [1],
            "num_feat": [5],
            "num_conv": [0, 3],
            "upscale": [1, 2, 3],
            "act_type": ["relu", "leakyrelu"],
            "init": ["bilinear"],
        },
        square(5),
        enlarged(5, 5, "upscale"),
        together={"num_out_ch": {"num_in_ch": 1}},
        broken=[
            ({"act_type": "gelu"}, "act_type must be one of relu, prelu, leakyrelu"),
            ({"num_conv": -1}, "num_conv must not be negative"),
        ],
    ),
    Architecture(
        "SwinTransformer",
        SWIN,
        SWIN_VARIANTS | {"in_chans": [1, 6], "norm_layer": [nn.Identity]},
        swin_size,
        swin_heads,
        broken=SWIN_BROKEN,
    ),
    Architecture(
        "SpectralDiscriminator2D",
        SWIN,
        SWIN_VARIANTS
        | {
            "version": ["swin"],
            "in_chans": [1],
            "reduction": ["mean", "gray"],
            "window": ["hann"],
            "fix_normalize": [True],
            "spec_type": ["magnitude", "full"],
            "scale": ["log"],
            "after_mean": [True],
        },
        swin_size,
        swin_heads,
        together={"after_mean": {"reduction": "mean"}},
        broken=[
            *SWIN_BROKEN,
            ({"version": "mlp"}, "version must be one of swin"),
            ({"reduction": "max"}, "reduction must be one of none, mean, gray"),
            ({"window": "hamming"}, "window must be one of None, hann"),
            ({"spec_type": "phase"}, "spec_type must be one of power, magnitude, full"),
            ({"scale": "db"}, "scale must be one of linear, log"),
            ({"reduction": "gray", "in_chans": 4}, "1 or 3 channels"),
        ],
    ),
    Architecture(
        "SpectralDiscriminator",
        {"img_size": 16},
        {
            "version": ["mlp"],
            "img_size": [15, (12, 17)],
            "in_chans": [1],
            "num_classes": [2],
            "hidden_channels": [[], [5, 4]],
            "dropout": [0.3],
            "reduction": ["mean", "gray"],
            "window": ["hann"],
            "fix_normalize": [True],
            "scale": ["log"],
        },
        swin_size,
        lambda options: (2, options.get("num_classes", 1)),
        broken=[({"version": "swin"}, "version must be one of mlp"), ({"hidden_channels": [4, 0]}, "hidden_channels")],
    ),
    Architecture(
        "MLPMixer",
        {"img_size": 16, "patch_size": 4, "dim": 8, "depth": 1},
        {
            "img_size": [8, (16, 8)],
            "patch_size": [8],
            "in_chans": [1],
            "dim": [6],
            "depth": [2],
            "num_classes": [3],
            "expansion_factor": [0.5],
            "expansion_factor_token": [2],
            "dropout": [0.3],
            "use_spectral_norm": [True],
        },
        swin_size,
        lambda options: (2, options.get("num_classes", 1)),
        broken=[
            ({"patch_size": 5}, "patch_size 5 does not divide img_size 16x16"),
            ({"expansion_factor": 0.1}, "no hidden units"),
        ],
    ),
    Architecture(
        "VGGStyleDiscriminator",
        {"num_in_ch": 3, "num_feat": 2},
        {"num_in_ch": [1], "num_feat": [3], "input_size": [256]},
        lambda options: (2, options["num_in_ch"], *[options.get("input_size", 128)] * 2),
        lambda options: (2, 1),
        broken=[({"input_size": 192}, "input_size 128 and 256, got 192")],
    ),
    Architecture(
        "UNetDiscriminatorSN",
        {"num_in_ch": 3, "num_feat": 2},
        {"num_in_ch": [1], "num_feat": [3], "skip_connection": [False], "use_spectral_norm": [False]},
        square(16),
        lambda options: (2, 1, 16, 16),
        broken=[({"num_feat": 0}, "num_feat must be a positive integer")],
    ),
    Architecture(
        "VggDiscriminatorYN",
        {},
        {"in_channels": [1], "pool": ["max"], "use_msra_init": [False], "use_spectral_norm": [True]},
        square(16, "in_channels"),
        lambda options: (2, 1),
        broken=[({"pool": "sum"}, "pool must be one of avg, max")],
    ),
    Architecture(
        "SPSRNet",
        {"in_nc": 3, "out_nc": 3, "nf": 4, "nb": 1, "gc": 4},
        {"in_nc": [1], "out_nc": [1], "nf": [3], "nb": [5], "gc": [2], "upscale": [1, 2, 3]},
        square(6, "in_nc"),
        lambda options: (2, options["out_nc"], *[6 * options.get("upscale", 4)] * 2),
        broken=[
            ({"upscale": 6}, "upscale must be 3 or a power of 2, got 6"),
            ({"nb": 0}, "nb must be a positive integer"),
        ],
    ),
    Architecture(
        "SwinIR",
        {"img_size": 8, "embed_dim": 8, "depths": [2], "num_heads": [2], "window_size": 4, "mlp_ratio": 2},
        {
            "img_size": [16, (8, 16)],
            "patch_size": [1],
            "in_chans": [1],
            "embed_dim": [12],
            "depths": [[1, 2]],
            "num_heads": [[4]],
            "window_size": [2, 8, 16],
            "mlp_ratio": [1],
            "qkv_bias": [False],
            "qk_scale": [0.3],
            "drop_rate": [0.2],
            "attn_drop_rate": [0.2],
            "drop_path_rate": [0.5],
            "norm_layer": [nn.Identity],
            "ape": [True],
            "patch_norm": [False],
            "use_checkpoint": [True],
            "upscale": [2, 3, 4, 8],
            "img_range": [255.0],
            "upsampler": ["pixelshuffle", "pixelshuffledirect", "nearest+conv"],
            "resi_connection": ["3conv"],
        },
        lambda options: (2, options.get("in_chans", 3), 8, 8),
        lambda options: (2, options.get("in_chans", 3), *[8 * options.get("upscale", 1)] * 2),
        together={
            "depths": {"num_heads": [2, 2]},
            "upscale": {"upsampler": "pixelshuffle"},
            "upsampler": {"upscale": 4},
        },
        broken=[
            ({"patch_size": 2}, "patch_size must be one of 1"),
            ({"window_size": 3}, "window_size 3 does not divide"),
            ({"upscale": 2}, "upscale 2 needs an upsampler"),
            ({"upscale": 3, "upsampler": "nearest+conv"}, "upscale 2 and 4, got 3"),
            ({"upscale": 6, "upsampler": "pixelshuffle"}, "scale must be 3 or a power of 2"),
            ({"upsampler": "bicubic", "upscale": 2}, "upsampler must be one of"),
            ({"img_range": 0.0}, "img_range must be positive"),
            ({"embed_dim": 3, "num_heads": [1], "resi_connection": "3conv"}, "embed_dim of at least 4"),
            ({"num_heads": [2, 2]}, "one entry per stage"),
        ],
    ),
    Architecture(
        "VGGFeatureExtractor",
        {"layer_name_list": ["conv1_2"], "pretrained": False},
        {
            "layer_name_list": [["relu1_1", "conv1_2", "pool1"]],
            "vgg_type": ["vgg13", "vgg16", "vgg13_bn"],
            "use_input_norm": [False],
            "range_norm": [True],
            "requires_grad": [True],
            "remove_pooling": [True],
            "pooling_stride": [1],
        },
        square(8, "channels"),
        lambda options: (2, 64, 8, 8),
        broken=[
            ({"vgg_type": "vgg12"}, "vgg_type must be one of vgg11, vgg11_bn"),
            ({"layer_name_list": ["conv1_3"]}, "vgg19 has no layer conv1_3"),
            ({"layer_name_list": ["pool1"], "remove_pooling": True}, "no layer pool1"),
            ({"layer_name_list": []}, "at least one layer"),
            ({"pooling_stride": 0}, "pooling_stride"),
        ],
    ),
]
BY_NAME = {entry.name: entry for entry in ARCHITECTURES}
