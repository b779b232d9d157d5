"""What a DualFormer step asks of the host: dispatched operators, counted on the CPU and extrapolated to the recipe."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from basicsr.archs.rrdbnet_arch import RRDB
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel

RECIPE_BLOCKS = 23
BEFORE = {"calls": 15_683, "launches": 6_370}
"""Of the step with a pass of its own for each loss, at the recipe's numbers of tensors, by this counter."""

NO_LAUNCH = ("empty", "new_empty", "_local_scalar_dense", "_unsafe_view")


class OperatorCount(TorchDispatchMode):
    """Counts operators, and those that do work on a device: neither views, nor allocations, nor reads by the host."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = self.launches = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.__name__.split(".")[0]
        is_read = name == "_local_scalar_dense"  # of the CPU's optimizers alone
        is_view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        self.calls += not is_read
        self.launches += not (is_view or is_read or name.startswith(NO_LAUNCH))
        return func(*args, **(kwargs or {}))


def count_step(blocks: int) -> OperatorCount:
    swin = {
        "type": "SwinTransformer",
        "img_size": 64,
        "patch_size": 16,
        "num_classes": 1,
        "embed_dim": 12,
        "depths": [8, 2],
        "num_heads": [3, 6],
        "window_size": 4,
        "drop_path_rate": 0.1,
    }
    adam = {"type": "Adam", "lr": 1e-4, "foreach": True}
    generator = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_grow_ch": 2}
    spectral = {**swin, "type": "SpectralDiscriminator2D", "version": "swin", "fix_normalize": True}
    model = build_model(
        {
            "model_type": "ESRGANSpecModel",
            "scale": 4,
            "num_gpu": 0,
            "is_train": True,
            "path": {},
            "network_g": {**generator, "num_block": blocks},
            "network_d": swin,
            "net_spectral_d": spectral,
            "train": {
                "ema_decay": 0.999,
                "channels_last": False,  # as on a GPU, which the count stands for
                "optim_g": adam,
                "optim_d": adam,
                "optim_spectral_d": adam,
                "scheduler": {"type": "MultiStepLR", "milestones": [100]},
                "pixel_opt": {"type": "L1Loss", "loss_weight": 1e-2},
                "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 5e-3},
            },
        }
    )
    assert isinstance(model, SRModel)
    gt = torch.rand(2, 3, 64, 64)
    data = {"gt": gt, "lq": torch.nn.functional.avg_pool2d(gt, 4)}
    for iteration in (1, 2):
        with OperatorCount() as count:
            model.begin_iteration(iteration)
            model.feed_data(data)
            model.optimize_parameters(iteration)
    return count


@pytest.fixture(scope="module")
def counts() -> tuple[OperatorCount, OperatorCount]:
    return count_step(1), count_step(2)


@pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 14), reason="of this PyTorch, BEFORE was not counted"
)
@pytest.mark.parametrize(("kind", "share"), [("launches", 0.63), ("calls", 0.6)])
def test_a_step_of_the_recipe_asks_for_few_operators(
    kind: str, share: float, counts: tuple[OperatorCount, OperatorCount]
) -> None:
    one, two = (getattr(count, kind) for count in counts)
    assert one + (RECIPE_BLOCKS - 1) * (two - one) <= share * BEFORE[kind]


def test_parts_of_a_step_ask_for_few_launches(counts: tuple[OperatorCount, OperatorCount]) -> None:
    one, two = (count.launches for count in counts)
    assert two - one <= 100, "a residual-in-residual dense block, forward and backward, with its optimizer and average"
    assert one - (two - one) <= 1_850, "both critics of ten Swin blocks, losses, and the generator's ends"


def test_a_dense_block_launches_no_more_than_its_layers() -> None:
    block, x = RRDB(8, 4), torch.rand(1, 8, 6, 6, requires_grad=True)
    with OperatorCount() as forward:
        y = block(x)
    # Three blocks of 5 convolutions, 4 activations, 4 concatenations and a sum, and the sum around them.
    assert forward.launches == 3 * (5 + 4 + 4 + 1) + 1
    slope = torch.ones_like(y)
    with OperatorCount() as backward:
        y.backward(slope)
    # Backward: convolutions, activations; a factor for each sum, and 5 sums of gradients that meet in each block.
    assert backward.launches <= 3 * (5 + 4 + 1 + 5) + 1 + 1
