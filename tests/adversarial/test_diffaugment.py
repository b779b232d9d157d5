"""Differentiable augmentation."""

from __future__ import annotations

import pytest
import torch

from basicsr.adversarial.diffaugment import DiffAugment

POLICY = "color,translation,cutout"


def _generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def images() -> torch.Tensor:
    return torch.rand(4, 3, 16, 24, generator=_generator(9)) + 0.01


@pytest.mark.parametrize("policy", ["color", "translation", "cutout", POLICY])
def test_the_generator_alone_decides(policy: str, images: torch.Tensor) -> None:
    first = DiffAugment(images, policy, _generator(0))
    torch.manual_seed(3)
    assert torch.equal(DiffAugment(images, policy, _generator(0)), first)
    assert not torch.equal(DiffAugment(images, policy, _generator(1)), first)
    assert first.shape == images.shape


def test_one_state_of_the_generator_augments_several_batches_alike(images: torch.Tensor) -> None:
    darker = 0.5 * images
    for policy in ("translation", "cutout", "translation,cutout"):
        augmented = DiffAugment(images, policy, _generator(0))
        assert torch.equal(DiffAugment(darker, policy, _generator(0)), 0.5 * augmented)
    # The whole policy is affine in the image, so the augmented sum of two batches follows from theirs and from black's.
    mirrored, black = images.flip(0), torch.zeros_like(images)
    a, b, both, none = (DiffAugment(x, POLICY, _generator(0)) for x in (images, mirrored, images + mirrored, black))
    torch.testing.assert_close(a + b - none, both)


def test_empty_policy_changes_nothing(images: torch.Tensor) -> None:
    assert DiffAugment(images, "") is images


def test_unknown_policy_is_named(images: torch.Tensor) -> None:
    with pytest.raises(ValueError, match=r"colour.*did you mean color"):
        DiffAugment(images, "colour,cutout")


@pytest.mark.parametrize("policy", ["color", "translation", "cutout", POLICY])
def test_gradients_pass_twice(policy: str) -> None:
    image = torch.rand(2, 3, 6, 8, dtype=torch.float64, generator=_generator(1)).requires_grad_()

    def squared(x: torch.Tensor) -> torch.Tensor:
        return DiffAugment(x, policy, _generator(0)).square()

    assert torch.autograd.gradcheck(squared, (image,))
    assert torch.autograd.gradgradcheck(squared, (image,))


def test_translation_moves_whole_images_by_up_to_an_eighth(images: torch.Tensor) -> None:
    shifts = set()
    for seed in range(20):
        for before, after in zip(images, DiffAugment(images, "translation", _generator(seed))):
            found = [
                (dy, dx)
                for dy in range(-2, 3)
                for dx in range(-3, 4)
                if torch.equal(after[:, max(-dy, 0) : 16 - max(dy, 0), max(-dx, 0) : 24 - max(dx, 0)],
                               before[:, max(dy, 0) : 16 + min(dy, 0), max(dx, 0) : 24 + min(dx, 0)])
                and after.ne(0).sum() == 3 * (16 - abs(dy)) * (24 - abs(dx))
            ]  # fmt: skip
            assert len(found) == 1
            shifts.add(found[0])
    assert {dy for dy, _ in shifts} == set(range(-2, 3)) and {dx for _, dx in shifts} == set(range(-3, 4))


def test_cutout_blacks_out_one_rectangle_of_half_the_sides_or_less(images: torch.Tensor) -> None:
    for seed in range(20):
        for before, after in zip(images, DiffAugment(images, "cutout", _generator(seed))):
            black = after.eq(0).all(0)
            assert torch.equal(after[:, ~black], before[:, ~black])
            rows, columns = black.any(1), black.any(0)
            assert torch.equal(black, rows[:, None] & columns[None])
            assert 4 <= rows.sum() <= 8 and 6 <= columns.sum() <= 12
            assert rows.int().diff().abs().sum() <= 2 and columns.int().diff().abs().sum() <= 2


def test_color_keeps_structure(images: torch.Tensor) -> None:
    gray = images.mean(1, keepdim=True).expand(-1, 3, -1, -1)
    for before, after in zip(gray, DiffAugment(gray, "color", _generator(0))):
        assert torch.allclose(after[0], after[1], atol=1e-6)
        gain = (after.std() / before.std()).item()
        assert 0.5 <= gain <= 1.5
        torch.testing.assert_close(after - after.mean(), gain * (before - before.mean()), rtol=1e-3, atol=1e-4)
        assert abs((after.mean() - before.mean()).item()) <= 0.5
