"""Validation on a CUDA device: images of one size pass together, and the host does not wait for each of them."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from basicsr.evaluation.results import Evaluation
from basicsr.evaluation.validation import Evaluator, ValOptions
from basicsr.metrics import batch_psnr, batch_ssim
from basicsr.utils.seeding import torch_generator

pytestmark = pytest.mark.gpu

METRICS = {
    "psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True},
    "ssim": {"type": "calculate_ssim", "crop_border": 2, "test_y_channel": True},
}


def evaluate(count: int, **val: Any) -> tuple[Evaluation, list[int]]:
    """Measures a network on images of one size; also how many it was given each time."""
    torch.manual_seed(0)
    net, sizes = nn.Conv2d(3, 3, 3, padding=1).cuda(), []
    generator = torch_generator("gpu", 0)
    images = torch.rand(count, 3, 64, 64, generator=generator)
    samples = [{"lq": image, "gt": image.flip(0), "lq_path": f"{number}.png"} for number, image in enumerate(images)]

    @torch.no_grad()
    def predict(batch: Mapping[str, Any]) -> Tensor:
        sizes.append(len(batch["lq"]))
        return net(batch["lq"].cuda(non_blocking=True))

    options = ValOptions.model_validate({"pbar": False, "metrics": METRICS, **val})
    evaluator = Evaluator(predict, options, device=torch.device("cuda"), may_join=True)
    return evaluator.evaluate(DataLoader(samples), "run"), sizes


def test_images_pass_together_with_the_numbers_of_single_ones() -> None:
    (together, sizes), (alone, ones) = evaluate(40), evaluate(40, batch=1)
    assert sizes == [32, 8] and ones == [1] * 40
    for image, methods in alone.images.items():
        assert together.images[image]["net_g"] == pytest.approx(methods["net_g"], abs=1e-3)


def test_the_host_waits_once_for_a_set_and_not_for_each_image() -> None:
    evaluate(2)
    waits = []
    for count in (2, 6):
        torch.cuda.set_sync_debug_mode("warn")
        try:
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                evaluate(count, batch=1)
        finally:
            torch.cuda.set_sync_debug_mode("default")
        waits.append(sum("synchroniz" in str(warning.message) for warning in caught))
    assert waits[0] == waits[1]


@pytest.mark.parametrize("test_y_channel", [True, False])
def test_metrics_are_those_of_the_cpu(test_y_channel: bool) -> None:
    generator = torch_generator("gpu", 1)
    sr, gt = (torch.randint(256, (3, 3, 40, 52), generator=generator, dtype=torch.uint8) for _ in range(2))
    for measure in (batch_psnr, batch_ssim):
        expected = measure(sr, gt, 4, test_y_channel)
        torch.testing.assert_close(measure(sr.cuda(), gt.cuda(), 4, test_y_channel).cpu(), expected, rtol=1e-9, atol=0)
