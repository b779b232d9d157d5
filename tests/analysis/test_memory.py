"""What is in memory at once does not depend on how many images there are."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from critic_runs import Judged

from basicsr.analysis import images
from basicsr.analysis.generators import Generator
from basicsr.analysis.images import Runtime
from basicsr.analysis.robustness import RobustnessSettings, measure_robustness
from basicsr.analysis.statistics import estimate_statistics

SIDE = 40
IMAGE_BYTES = 3 * SIDE * SIDE


@pytest.fixture(autouse=True)
def only_new_objects() -> Iterator[None]:
    """Hides what is there before a test from ``gc.get_objects``, which takes long to list all of it."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


def count_live_bytes() -> int:
    """Bytes of the memory of all tensors that the test made."""
    tensors = [item for item in gc.get_objects() if type(item) is torch.Tensor]
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in tensors}
    return sum(storages.values())


def measure_statistics(paths: list[Path], watch: Callable[[], None]) -> None:
    def upscale(lq: torch.Tensor) -> torch.Tensor:
        watch()
        return lq.repeat_interleave(2, -1).repeat_interleave(2, -2)

    how = {"patch_size": 64, "repeat": 3, "runtime": Runtime(batch_size=4)}
    statistics, _ = estimate_statistics(paths, generator=Generator("nearest", 2, upscale), **how)
    assert statistics.count == 3 * len(paths)


def measure_curves(paths: list[Path], watch: Callable[[], None]) -> None:
    def score(x: torch.Tensor) -> torch.Tensor:
        watch()
        return x.mean(dim=(1, 2, 3))

    settings = RobustnessSettings(input_size=32, divide=2, repeat=3)
    scores, _ = measure_robustness(paths, {"D": Judged(score, "mean")}, settings, Runtime(batch_size=10))
    assert len(scores["D"].images) == 3 * len(paths)


@pytest.mark.parametrize("measure", [measure_statistics, measure_curves])
def test_memory_does_not_grow_with_the_number_of_images(
    measure: Callable[[list[Path], Callable[[], None]], None], monkeypatch: pytest.MonkeyPatch
):
    read: list[Path] = []

    def read_image(path: Path) -> torch.Tensor:
        read.append(path)
        return torch.full((3, SIDE, SIDE), len(read), dtype=torch.uint8)

    monkeypatch.setattr(images, "read_image", read_image)

    def find_peak(count: int) -> int:
        seen: list[int] = []
        measure([Path(f"{index}.png") for index in range(count)], lambda: seen.append(count_live_bytes()))
        return max(seen)

    peak_of_few = find_peak(4)
    assert peak_of_few > 2 * IMAGE_BYTES  # or nothing was watched
    # Ten more images would be 48,000 bytes; scores and the like are a few numbers per image.
    assert find_peak(14) < peak_of_few + IMAGE_BYTES
    assert len(read) == 18
