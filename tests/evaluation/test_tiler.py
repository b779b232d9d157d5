"""Tiled images in a run: the margin, the note beside numbers, pictures put together on the host, and progress."""

from __future__ import annotations

import csv
import json
import logging
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from test_reach import blur
from torch import Tensor, nn

from basicsr.evaluation import tiler as tiler_module
from basicsr.evaluation.results import describe, describe_means, write_results
from basicsr.evaluation.tiler import Tiler
from basicsr.evaluation.tiling import generate_tiles, tiled_pictures
from basicsr.evaluation.validation import Evaluator, ValOptions
from basicsr.evaluation.workload import UNKNOWN, Workload
from basicsr.metrics import Levels
from basicsr.utils import progress as progress_module


def random_image(height: int, width: int, channels: int = 3) -> Tensor:
    return torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(height))


class Averaging(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x.mean((-2, -1), keepdim=True)


def test_margin_is_measured_once_for_the_weights_and_anew_when_they_change(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[int] = []
    measure = tiler_module.measure_reach
    monkeypatch.setattr(tiler_module, "measure_reach", lambda *args: measured.append(1) or measure(*args))
    tiler, net = Tiler(16, None), blur(3)
    tiler.generate(net, random_image(10, 16))
    assert measured == []  # one tile is the whole image
    for _ in range(2):
        made = tiler.generate(net, random_image(40, 20))
        torch.testing.assert_close(made, net(random_image(40, 20)))
    assert len(measured) == 1
    net.load_state_dict(net.state_dict())
    tiler.generate(net, random_image(40, 20))
    assert len(measured) == 1
    net.weight.data.mul_(0.5)
    tiler.generate(net, random_image(40, 20))
    assert len(measured) == 2


@pytest.mark.parametrize(
    ("net", "overlap", "expected"),
    [
        (blur(6), None, ""),
        (blur(6), 6, ""),
        (blur(6), 2, "tiles of 16 with overlap 2, which differ from the whole image (up to "),
        (Averaging(), None, "with any overlap)"),
        (Averaging(), 300, "with any overlap)"),
    ],
)
def test_note_is_there_where_tiles_differ_from_the_whole_image(
    net: nn.Module, overlap: int | None, expected: str
) -> None:
    tiler, lq = Tiler(16, overlap), random_image(40, 30)
    made = tiler.generate(net, lq)
    assert expected in tiler.note
    assert bool(tiler.note) == bool(expected)
    differs = (made - net(lq)).abs().max() * 255 > 0.5
    assert differs == (overlap == 2 or (overlap is None and bool(expected)))
    tiler.generate(net, random_image(16, 16))
    assert tiler.note == ""


@pytest.mark.parametrize("channels", [1, 3])
def test_picture_is_the_rounded_image(channels: int) -> None:
    net = nn.Sequential(nn.Conv2d(channels, 4 * channels, 3, padding=1), nn.PixelShuffle(2)).requires_grad_(False)
    lq, tiler = random_image(37, 29, channels), Tiler(12, 3, scale=2)
    picture, image = tiler.generate_picture(net, lq), Levels(tiler.generate(net, lq))
    assert isinstance(picture, np.ndarray)
    np.testing.assert_array_equal(picture, image.arrays[0])
    assert torch.equal(Levels(picture).batch, image.batch)
    assert torch.equal(Tiler(64, 3, scale=2).generate_picture(net, lq), net(lq))


def test_memory_is_one_picture_in_its_depth_and_half_of_it() -> None:
    seen: list[int] = []

    def net(x: Tensor) -> Tensor:
        seen.append(x.numel())
        # In NumPy's memory, which is counted.
        return torch.from_numpy(np.repeat(np.repeat(x.numpy(), 4, axis=2), 4, axis=3))

    lq, size = random_image(300, 400), 3 * 300 * 400 * 16
    tracemalloc.start()
    picture = tiled_pictures(generate_tiles(net, lq, 32, 8, scale=4), 1200, 1600)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert picture.nbytes == size
    tile = max(seen) * 16 * 4
    assert size <= peak < size + 2 * tile < 1.5 * size


class Shades(torch.utils.data.Dataset[dict[str, Any]]):
    """Pairs of one size, in files whose headers tell other sizes."""

    def __init__(self, folder: Path, sizes: dict[str, tuple[int, int]]) -> None:
        self.opt = {"name": folder.name, "dataroot_lq": str(folder)}
        self.paths = [str(folder / name) for name in sizes]
        folder.mkdir(parents=True)
        for name, (height, width) in sizes.items():
            cv2.imwrite(str(folder / name), np.zeros((height, width, 3), np.uint8))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        lq = random_image(24, 20)[0]
        return {"lq": lq, "gt": (lq + 0.1).clamp(0, 1), "lq_path": self.paths[index]}


def make_evaluator(tiler: Tiler, net: nn.Module, folder: Path) -> Evaluator:
    metrics = {"psnr": {"type": "calculate_psnr", "crop_border": 0}}
    val = ValOptions.model_validate({"metrics": metrics, "pbar": True})
    return Evaluator(lambda batch: tiler.generate_picture(net, batch["lq"]), val, folder=folder, tiler=tiler)


def test_metrics_of_tiles_that_differ_say_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    loader = torch.utils.data.DataLoader(Shades(tmp_path / "set", {"a.png": (24, 20), "b.png": (24, 20)}))
    evaluator = make_evaluator(Tiler(8, 1), blur(4), tmp_path)
    evaluation = evaluator.evaluate(loader, "run", compare=True)
    note = evaluation.notes["a"]
    assert evaluation.notes == {"a": note, "b": note}
    assert "tiles of 8 with overlap 1, which differ from the whole image" in note
    # In the log, the tables, and both files.
    with caplog.at_level(logging.INFO, "basicsr"):
        evaluator.record(evaluation, 5)
    assert f"2 of 2 images {note}" in caplog.text
    for table in (describe(evaluation), describe_means([evaluation])):
        assert f"net_g*: 2 of 2 images {note}" in table.splitlines()[-1]
        assert "net_g* " in table
        assert "bicubic* " not in table
    write_results([evaluation], tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["set"]["notes"] == {"a": note, "b": note}
    with open(tmp_path / "metrics.csv") as file:
        assert [row["note"] for row in csv.DictReader(file)] == ["", note, "", note]


def test_metrics_of_tiles_are_those_of_the_whole_image(tmp_path: Path) -> None:
    loader = torch.utils.data.DataLoader(Shades(tmp_path / "set", {"a.png": (24, 20)}))
    whole = make_evaluator(Tiler(), blur(4), tmp_path).evaluate(loader, 1)
    tiled = make_evaluator(Tiler(8), blur(4), tmp_path).evaluate(loader, 1)
    assert tiled.notes == whole.notes == {}
    assert tiled.means()["psnr"] == pytest.approx(whole.means()["psnr"], abs=1e-3)
    assert "*" not in describe(tiled)


def test_progress_counts_pixels_and_moves_with_every_tile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: now[0])
    small = SimpleNamespace(dataset=Shades(tmp_path / "small", {"a.png": (10, 10), "b.png": (10, 10)}))
    large = SimpleNamespace(dataset=Shades(tmp_path / "large", {"c.png": (60, 80), "d.png": (100, 50)}))
    with caplog.at_level(logging.INFO, "basicsr"), Workload([small, large], "Test") as workload:
        assert workload.progress.total == 200 + 4800 + 5000
        workload.begin_image(small, 0, "a")
        workload.end_image()
        assert workload.progress.count == 100
        # b could not be read.
        workload.end_set(small)
        assert workload.progress.count == 200
        workload.begin_image(large, 0, "c")
        for tile in range(1, 4):
            now[0] += 100
            workload.end_tile(tile, 3)
        assert workload.progress.count == 200 + 3600
        workload.end_image()
        workload.end_set(large)
        assert workload.progress.count == workload.progress.total
    assert [record.getMessage() for record in caplog.records][:2] == [
        "Test: 14%, 0:10:14 left",
        "Test: 26%, 0:09:29 left",
    ]


def test_progress_of_one_rank_is_that_of_its_images(tmp_path: Path) -> None:
    loader = SimpleNamespace(dataset=Shades(tmp_path / "set", {"a.png": (9, 9), "b.png": (5, 4), "c.png": (7, 7)}))
    assert Workload([loader], "Test", (1, 2)).progress.total == 20
    # Of a database nobody knows the sizes beforehand.
    loader.dataset.paths = ["a", "b", "c"]
    assert Workload([loader], "Test", (0, 2)).progress.total == 2 * UNKNOWN
    assert Workload([[{"lq": 1}]], "Test").progress.total == 0


def test_evaluation_tells_progress_of_images_and_tiles(tmp_path: Path) -> None:
    dataset = Shades(tmp_path / "set", {"a.png": (24, 20), "b.png": (24, 20)})
    loader = torch.utils.data.DataLoader(dataset)
    counts: list[int] = []
    workload = Workload([loader], "Test")
    update = workload.progress.update
    workload.progress.update = lambda note, steps: (update(note, steps), counts.append(workload.progress.count))[0]
    evaluator = make_evaluator(Tiler(12, 4), blur(4), tmp_path)
    evaluation = evaluator.evaluate(loader, 1, compare=True, workload=workload)
    # Four tiles and the measuring, for each image.
    assert counts == [480 * step // 5 for step in range(1, 6)] + [480 + 480 * step // 5 for step in range(1, 6)]
    assert counts[-1] == workload.progress.total
    assert set(evaluation.images) == {"a", "b"}
