"""Images of one size pass through the generator together, and the numbers are those of single images."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from basicsr.evaluation.results import Evaluation
from basicsr.evaluation.together import MAX_IMAGES, Entry, count_together, group_entries
from basicsr.evaluation.validation import Evaluator, ValOptions
from basicsr.metrics import metric as metric_file
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel

SIZES = [(16, 16), (16, 16), (16, 16), (16, 20), (16, 20), (16, 16)]
METRICS = {
    "psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True},
    "ssim": {"type": "calculate_ssim", "crop_border": 2, "test_y_channel": True},
}


def make_samples() -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    return [
        {
            "lq": torch.rand(3, height, width, generator=generator),
            "gt": torch.rand(3, 2 * height, 2 * width, generator=generator),
            "lq_path": f"{index}.png",
        }
        for index, (height, width) in enumerate(SIZES)
    ]


def make_model(folder: Path, **val: Any) -> SRModel:
    torch.manual_seed(0)
    net = {"type": "MSRResNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "upscale": 2}
    opt = {
        "name": "run",
        "model_type": "SRModel",
        "scale": 2,
        "num_gpu": 0,
        "is_train": False,
        "network_g": net,
        "path": {"visualization": str(folder)},
        "val": {"pbar": False, "metrics": METRICS, **val},
    }
    return build_model(opt)


def measure(model: SRModel, **asked: Any) -> Evaluation:
    return model.measure(DataLoader(make_samples()), "run", None, True, **asked)


def watch_sizes(model: SRModel) -> list[int]:
    """The numbers of images that the generator is given, as it is."""
    sizes: list[int] = []
    model.net_g.register_forward_pre_hook(lambda net, args: sizes.append(len(args[0])))
    return sizes


def test_neighbours_of_one_size_pass_together_with_the_same_results(tmp_path: Path) -> None:
    alone, together = make_model(tmp_path / "alone"), make_model(tmp_path / "together", batch=2)
    sizes = watch_sizes(alone), watch_sizes(together)
    expected, found = (measure(model, compare=True) for model in (alone, together))
    assert sizes == ([1] * 6, [2, 1, 2, 1])
    assert list(found.images) == list(expected.images) and found.gt_digests == expected.gt_digests
    for image, methods in expected.images.items():
        for method, scores in methods.items():
            assert found.images[image][method] == pytest.approx(scores, rel=1e-3)
    for index in range(len(SIZES)):
        pictures = [cv2.imread(str(tmp_path / way / f"images/{index}_run.png")) for way in ("alone", "together")]
        assert np.abs(pictures[0].astype(int) - pictures[1]).max() <= 1


@pytest.mark.parametrize("name", ["test", "feed_data", "get_current_visuals", "nondist_validation"])
def test_classes_with_methods_of_their_own_get_one_image_at_a_time(name: str, tmp_path: Path) -> None:
    def own(self: SRModel, *args: Any) -> Any:
        return getattr(SRModel, name)(self, *args)

    model = make_model(tmp_path, batch=4)
    model.__class__ = type("Published", (SRModel,), {name: own})
    sizes = watch_sizes(model)
    measure(model)
    assert sizes == [1] * 6


def test_where_memory_does_not_suffice_images_pass_alone(tmp_path: Path) -> None:
    tried: list[int] = []

    def predict(batch: Mapping[str, Any]) -> Tensor:
        tried.append(len(batch["lq"]))
        if len(batch["lq"]) > 1:
            raise torch.cuda.OutOfMemoryError
        return batch["lq"].repeat_interleave(2, -1).repeat_interleave(2, -2)

    val = ValOptions.model_validate({"pbar": False, "batch": 3, "metrics": METRICS})
    found = Evaluator(predict, val, 2, may_join=True).evaluate(DataLoader(make_samples()), "run")
    assert tried == [3, 1, 1, 1, 1, 1, 1]
    assert found == Evaluator(predict, val, 2).evaluate(DataLoader(make_samples()), "run")


def test_how_many_pass_together_is_bounded_by_pixels() -> None:
    gpu, small, large = torch.device("cuda"), torch.empty(1, 3, 128, 128), torch.empty(1, 3, 339, 510)
    assert count_together(small, 4, None, torch.device("cpu")) == count_together(small, 4, None, None) == 1
    assert count_together(small, 4, None, gpu) == 8
    assert count_together(small[..., :16, :16], 4, None, gpu) == MAX_IMAGES
    assert count_together(small, 4, 3, gpu) == count_together(small, 4, 3, None) == 3
    assert count_together(large, 4, 8, gpu) == 1  # above 2^20 pixels, whatever is asked for


def test_groups_keep_the_order_and_hold_no_more_than_they_may() -> None:
    entries = [Entry(index, str(index), {"lq": torch.empty(1, 3, *size)}) for index, size in enumerate(SIZES)]
    groups = [[entry.index for entry in group] for group in group_entries(entries, lambda lq: 2)]
    assert groups == [[0, 1], [2], [3, 4], [5]]


def test_images_are_prepared_once_for_all_metrics_and_numbers_are_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared, read = [], []
    prepare, tolist = metric_file.prepare_batch, Tensor.tolist
    monkeypatch.setattr(metric_file, "prepare_batch", lambda *a, **k: prepared.append(1) or prepare(*a, **k))
    monkeypatch.setattr(Tensor, "tolist", lambda self: read.append(self.numel()) or tolist(self))
    found = measure(make_model(tmp_path))
    assert len(prepared) == 2 * len(SIZES)
    # Two metrics and two facts of each image.
    assert read == [4 * len(SIZES)]
    assert len(found.images) == len(SIZES)
