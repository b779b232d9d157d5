"""A convolution after nearest-neighbour enlargement, as one transposed convolution."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from basicsr.archs.arch_util import convolve_enlarged


@pytest.mark.parametrize("kernel_size", [1, 3, 5])
@pytest.mark.parametrize("bias", [True, False])
def test_enlarging_and_convolving_is_one_transposed_convolution(kernel_size: int, bias: bool) -> None:
    torch.manual_seed(0)
    conv = nn.Conv2d(3, 5, kernel_size, 1, kernel_size // 2, bias=bias).double()
    x = torch.rand(2, 3, 6, 7, dtype=torch.float64, requires_grad=True)
    found, expected = convolve_enlarged(x, conv), conv(F.interpolate(x, scale_factor=2, mode="nearest"))
    torch.testing.assert_close(found, expected)
    slope = torch.rand_like(expected)
    inputs = [x, *conv.parameters()]
    torch.testing.assert_close(torch.autograd.grad(found, inputs, slope), torch.autograd.grad(expected, inputs, slope))


def test_convolutions_that_others_have_changed_are_called() -> None:
    torch.manual_seed(0)
    plain, x = nn.Conv2d(3, 3, 3, 1, 1), torch.rand(1, 3, 4, 5)
    enlarged = F.interpolate(x, scale_factor=2, mode="nearest")
    hooked = copy.deepcopy(plain)
    hooked.register_forward_hook(lambda module, args, output: output + 1)
    changed = [hooked, nn.Sequential(plain, nn.ReLU()), nn.utils.parametrizations.weight_norm(copy.deepcopy(plain))]
    for conv in changed:
        assert torch.equal(convolve_enlarged(x, conv), conv(enlarged))
