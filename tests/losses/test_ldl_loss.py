"""LDL as a content loss."""

from __future__ import annotations

import pytest
import torch
from golden_cases import load_case

from basicsr.losses import L1Loss, LDLLoss


def test_golden_ldl_with_the_gradient_of_its_map() -> None:
    case = load_case("loss_ldl")
    output = case.tensor("in.out").requires_grad_()
    value = LDLLoss(L1Loss(), case.config["ksize"])(output, case.tensor("in.gt"), case.tensor("in.ema"))
    case.check(value, "out.ldl")
    value.backward()
    case.check(output.grad, "out.ldl_grad")


def test_the_average_gets_no_gradient() -> None:
    gt, output, ema = (torch.rand(1, 3, 12, 12) for _ in range(3))
    LDLLoss(L1Loss())(output.requires_grad_(), gt, ema.requires_grad_()).backward()
    assert ema.grad is None


def test_even_windows_are_refused() -> None:
    with pytest.raises(ValueError, match="odd"):
        LDLLoss(L1Loss(), ksize=6)
