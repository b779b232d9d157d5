"""Weights of networks that losses and metrics compare images with; no option file names these files."""

from __future__ import annotations

from functools import cache

from basicsr.weights.obtaining import Published

FID_INCEPTION = Published(
    "fid_inception",
    {},
    "Apache-2.0",
    "https://github.com/mseitzer/pytorch-fid/releases/download/fid_weights",
    "pytorch-fid",
    "pt_inception-2015-12-05-6726825d.pth",
    purpose="Inception v3 of TensorFlow's FID: `basicsr.metrics.fid`",
    is_shared=True,
)

_PURPOSES = {
    **{
        f"vgg{depth}{norm}": f"VGG-{depth}{' with batch norm' if norm else ''}: perceptual losses"
        for depth in (11, 13, 16, 19)
        for norm in ("", "_bn")
    },
    "alexnet": "AlexNet: LPIPS with `net_type: alex`",
    "squeezenet1_1": "SqueezeNet 1.1: LPIPS with `net_type: squeeze`",
    "inception_v3": "Inception v3 of ImageNet: `InceptionV3` with `use_fid_inception=False`",
}
_PURPOSES["vgg16"] += ", and LPIPS with `net_type: vgg`"


@cache
def torchvision_weights(name: str) -> Published:
    """The weights of a torchvision network, trained on ImageNet; ``name`` is its name in torchvision."""
    # Imported here: torchvision is slow to import.
    from torchvision.models import get_model_weights

    weights = get_model_weights(name)["IMAGENET1K_V1"]
    folder, _, file = weights.url.rpartition("/")
    return Published(
        name,
        {},
        "BSD-3-Clause",
        folder,
        "torchvision",
        file,
        purpose=_PURPOSES.get(name, name),
        size=int(weights.meta["_file_size"] * 2**20),
        is_shared=True,
        evidence="address, size and digest as in torchvision's code",
    )


def list_features() -> dict[str, Published]:
    """All of them, by name."""
    return {**{name: torchvision_weights(name) for name in _PURPOSES}, FID_INCEPTION.name: FID_INCEPTION}
