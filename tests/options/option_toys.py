"""Small registered classes, so that option files can be checked without the rest of the package."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from torch import nn

from basicsr.utils.errors import Problem
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DATASET_REGISTRY,
    LOSS_REGISTRY,
    METRIC_REGISTRY,
    MODEL_REGISTRY,
    OPTIMIZER_REGISTRY,
    SCHEDULER_REGISTRY,
)


@ARCH_REGISTRY.register()
class ToyNet(nn.Module):
    def __init__(
        self,
        num_in_ch: int,
        num_feat: int = 8,
        scale: int = 4,
        depths: Sequence[int] = (2,),
        act: Literal["relu", "prelu"] = "relu",
    ) -> None:
        super().__init__()
        if num_feat % 4:
            raise ValueError(f"num_feat {num_feat} is not divisible by 4")
        self.conv = nn.Conv2d(num_in_ch, num_feat, 3)


@ARCH_REGISTRY.register()
class ToyCritic(nn.Module):
    def __init__(self, img_size: int | Sequence[int] = 32, patch_size: int = 8) -> None:
        super().__init__()
        side = img_size if isinstance(img_size, int) else img_size[0]
        if side % patch_size:
            raise ValueError(f"img_size {side} is not divisible by patch_size {patch_size}")
        self.conv = nn.Conv2d(3, 4, patch_size, patch_size)


@ARCH_REGISTRY.register()
class ToyNetThatReadsValues(nn.Module):
    def __init__(self, width: int = 4) -> None:
        super().__init__()
        self.weight = nn.Parameter(nn.Linear(width, 1).weight * 2)
        if self.weight.abs().sum().item() == 0:  # fails on the meta device
            raise ValueError("no weight")


@ARCH_REGISTRY.register()
class ToyOpenNet(nn.Module):
    def __init__(self, width: int = 4, **kwargs: Any) -> None:
        super().__init__()


@LOSS_REGISTRY.register()
class ToyLoss:
    def __init__(self, loss_weight: float = 1.0, reduction: Literal["mean", "sum"] = "mean") -> None: ...


@LOSS_REGISTRY.register()
class ToyFeatureLoss:
    def __init__(self, layer_weights: Mapping[str, float], file: str | None = None) -> None:
        raise AssertionError("losses are not built: they may need weights")


@LOSS_REGISTRY.register()
class ToyGAN:
    def __init__(self, gan_type: Literal["vanilla", "wgan"], loss_weight: float = 1.0) -> None: ...


@OPTIMIZER_REGISTRY.register()
def ToyAdam(params: Any, lr: float, betas: tuple[float, float] = (0.9, 0.99)) -> None: ...


@SCHEDULER_REGISTRY.register()
def ToySteps(optimizer: Any, milestones: Sequence[int], gamma: float = 0.5) -> None: ...


@METRIC_REGISTRY.register()
def toy_psnr(img: Any, img2: Any, crop_border: int, test_y_channel: bool = False) -> float:
    return 0.0


@DATASET_REGISTRY.register()
class ToyPairs:
    class Options(BaseModel):
        model_config = ConfigDict(extra="forbid", frozen=True)

        name: str
        type: str
        dataroot_gt: str
        dataroot_lq: str | None = None
        phase: Literal["train", "val", "test"] = "train"
        scale: int = 1
        seed: int = 0
        gt_size: int | None = None
        batch_size_per_gpu: int = 1
        filename_tmpl: str = "{}"

    def __init__(self, opt: Mapping[str, Any]) -> None: ...

    @classmethod
    def check_files(cls, options: ToyPairs.Options) -> list[Problem]:
        names = [{path.stem for path in Path(root).iterdir()} for root in (options.dataroot_gt, options.dataroot_lq)]
        odd = sorted(names[0] ^ names[1])
        message = f"dataroot_gt and dataroot_lq do not match: {', '.join(odd)}"
        return [Problem("dataroot_gt", message)] if odd else []


@DATASET_REGISTRY.register()
class ForeignDataset:
    """As downstream projects write them: everything in one mapping."""

    def __init__(self, opt: dict[str, Any]) -> None: ...


@MODEL_REGISTRY.register()
class ToyModel:
    recipe = SimpleNamespace(
        critics=("d", "spectral_d"),
        degradation="hard_gated",
        objective="relativistic",
        masks_flat_regions=False,
        trains_branch_first=False,
    )

    def __init__(self, opt: Mapping[str, Any]) -> None: ...

    @classmethod
    def check_options(cls, opt: Mapping[str, Any]) -> list[Problem]:
        return [] if opt["train"].get("optim_g") else [Problem("train.optim_g", "missing; ToyModel needs it")]


@MODEL_REGISTRY.register()
class ForeignModel:
    """A downstream model, which may read any key."""

    def __init__(self, opt: Mapping[str, Any]) -> None: ...


_OPTIONS: dict[str, Any] = {
    "name": "toy",
    "model_type": "ToyModel",
    "scale": 4,
    "num_gpu": 0,
    "manual_seed": 7,
    "gt_size": 32,
    "datasets": {
        "train": {"name": "Toys", "type": "ToyPairs", "dataroot_gt": "hr", "dataroot_lq": "lr", "gt_size": 32},
        "val": {"name": "ToyVal", "type": "ToyPairs", "dataroot_gt": "hr", "dataroot_lq": "lr"},
    },
    "network_g": {"type": "ToyNet", "num_in_ch": 3},
    "network_d": {"type": "ToyCritic", "img_size": 32, "patch_size": 8},
    "path": {"pretrain_network_g": None},
    "train": {
        "total_iter": 100,
        "ema_decay": 0.9,
        "optim_g": {"type": "ToyAdam", "lr": 1e-4, "betas": [0.9, 0.99]},
        "optim_d": {"type": "ToyAdam", "lr": 1e-4},
        "scheduler": {"type": "ToySteps", "milestones": [50]},
        "pixel_opt": {"type": "ToyLoss"},
        "gan_opt": {"type": "ToyGAN", "gan_type": "vanilla", "loss_weight": 0.005, "d_weight": 0.5},
    },
    "val": {"val_freq": 50, "metrics": {"psnr": {"type": "toy_psnr", "crop_border": 4, "better": "higher"}}},
    "logger": {"print_freq": 10},
}


def toy_options() -> dict[str, Any]:
    """Options without a mistake, except that the data is not there."""
    return copy.deepcopy(_OPTIONS)


def set_at(options: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    """Sets a dotted path and returns the options."""
    *parents, key = path.split(".")
    holder = options
    for parent in parents:
        holder = holder.setdefault(parent, {})
    holder[key] = value
    return options
