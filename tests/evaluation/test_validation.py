"""Validation: per-image metrics, names, files, best values, and shards that add up to one process's result."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from basicsr.evaluation import validation
from basicsr.evaluation.dataset_images import ImageNamer, Scores, ShardSampler
from basicsr.evaluation.results import Evaluation
from basicsr.evaluation.validation import Evaluator, ValOptions
from basicsr.metrics import Metric, calculate_psnr
from basicsr.utils.seeding import torch_generator

METRICS = {
    "psnr": {"type": "calculate_psnr", "crop_border": 2, "test_y_channel": True},
    "ssim": {"type": "calculate_ssim", "crop_border": 2, "test_y_channel": True},
}


class Images(Dataset[dict[str, Any]]):
    """Pairs whose LQ is a noisy GT of the same size; files lie in two folders with clashing names."""

    def __init__(self, count: int = 5, has_gt: bool = True) -> None:
        self.opt = {"name": "Set5", "dataroot_lq": "/data/lq"}
        self.has_gt = has_gt
        self.paths = [f"/data/lq/{'ab'[index % 2]}/{index // 2}.png" for index in range(count)]
        self.read: list[int] = []

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        self.read.append(index)
        generator = torch_generator("validation", index)
        gt = torch.rand(3, 24, 20, generator=generator)
        lq = (gt + 0.05 * (index + 1) * torch.randn(3, 24, 20, generator=generator)).clamp(0, 1)
        sample = {"lq": lq, "lq_path": self.paths[index]}
        return sample | {"gt": gt, "gt_path": self.paths[index]} if self.has_gt else sample


class IdentityModel:
    """The part of a model that validation uses."""

    def __init__(self, root: Path, is_train: bool = True, metrics: dict[str, Any] | None = None) -> None:
        self.opt: dict[str, Any] = {
            "name": "run",
            "is_train": is_train,
            "path": {"visualization": str(root)},
            "val": {"metrics": METRICS if metrics is None else metrics, "pbar": False},
        }
        self.best_metric_results: dict[str, dict[str, Any]] = {}
        self.alive: list[int] = []

    def predict(self, batch: dict[str, Any]) -> Tensor:
        return batch["lq"]

    def measure(self, *where: Any, **asked: Any) -> Evaluation:
        return self.evaluator().evaluate(*where, **asked)

    def evaluator(self) -> Evaluator:
        return Evaluator(
            self.predict,
            ValOptions.model_validate(self.opt["val"]),
            folder=Path(self.opt["path"]["visualization"]),
            name=self.opt["name"],
            is_train=self.opt["is_train"],
            share=self.opt.get("dist_val", True),
            best=self.best_metric_results,
        )


def scores_of(evaluation: Evaluation) -> dict[str, Scores]:
    return {image: methods["net_g"] for image, methods in evaluation.images.items()}


class RecordingWriter:
    def __init__(self) -> None:
        self.scalars: dict[tuple[str, int], float] = {}
        self.images: dict[str, tuple[int, ...]] = {}

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name, step] = value

    def add_image(self, name: str, image: np.ndarray, step: int, dataformats: str) -> None:
        self.images[name] = image.shape


def loader_of(dataset: Images, sampler: ShardSampler | None = None) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=1, shuffle=False, sampler=sampler)


def test_means_are_those_of_single_images(tmp_path: Path) -> None:
    dataset, writer = Images(), RecordingWriter()
    model = IdentityModel(tmp_path)
    evaluation = model.evaluator().evaluate(loader_of(dataset), 100, writer)
    model.evaluator().record(evaluation, 100, writer)
    result = {evaluation.dataset: evaluation.means()}
    expected = []
    for index in range(5):
        sample = dataset[index]
        lq, gt = (np.round(sample[key].numpy().transpose(1, 2, 0)[..., ::-1] * 255) for key in ("lq", "gt"))
        expected.append(calculate_psnr(lq.astype(np.uint8), gt.astype(np.uint8), crop_border=2, test_y_channel=True))
    assert result["Set5"]["psnr"] == pytest.approx(np.mean(expected), rel=1e-12)
    assert writer.scalars["metrics/Set5/psnr", 100] == result["Set5"]["psnr"]
    assert writer.images == {f"Set5/{name}": (24, 40, 3) for name in ("a/0", "b/0", "a/1", "b/1")}
    assert model.best_metric_results["Set5"]["psnr"] == {
        "better": "higher",
        "val": result["Set5"]["psnr"],
        "iter": 100,
    }


def test_baseline_is_measured_in_the_same_pass(tmp_path: Path) -> None:
    dataset, model = Images(3), IdentityModel(tmp_path)
    evaluation = model.evaluator().evaluate(loader_of(dataset), 1, compare=True)
    assert dataset.read == [0, 1, 2]
    assert evaluation.methods == ["bicubic", "net_g"]
    # At scale 1 bicubic interpolation changes nothing, and neither does this model.
    assert evaluation.means("bicubic") == evaluation.means("net_g")
    model.opt["val"]["baseline"] = None
    assert model.evaluator().evaluate(loader_of(dataset), 1, compare=True).methods == ["net_g"]


@pytest.mark.parametrize("num_shards", [2, 3, 7])
@pytest.mark.parametrize("sharded_loader", [True, False])
def test_shards_give_the_result_of_one_process(
    num_shards: int, sharded_loader: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = IdentityModel(tmp_path).evaluator().evaluate(loader_of(Images()), 1)
    parts: list[dict[tuple[int, str], Any]] = []
    read: list[int] = []

    def gather(part: dict[tuple[int, str], Any]) -> list[dict[tuple[int, str], Any]]:
        parts.append(part)
        return parts

    monkeypatch.setattr(validation, "gather_objects", gather)
    for rank in range(num_shards):
        monkeypatch.setattr(validation, "get_dist_info", lambda rank=rank: (rank, num_shards))
        dataset = Images()
        sampler = ShardSampler(dataset, rank, num_shards) if sharded_loader else None
        together = IdentityModel(tmp_path).evaluator().evaluate(loader_of(dataset, sampler), 1)
        read += dataset.read
    assert together == alone
    assert list(together.images) == ["a/0", "b/0", "a/1", "b/1", "a/2"]
    assert sorted(index for part in parts for index, _ in part) == [0, 1, 2, 3, 4]
    if sharded_loader:
        assert sorted(read) == [0, 1, 2, 3, 4]


def test_unshared_validation_is_done_by_rank_0(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = IdentityModel(tmp_path)
    model.opt["dist_val"] = False
    monkeypatch.setattr(validation, "gather_objects", lambda part: [part])
    monkeypatch.setattr(validation, "get_dist_info", lambda: (0, 2))
    assert len(model.evaluator().evaluate(loader_of(Images()), 1).images) == 5
    monkeypatch.setattr(validation, "get_dist_info", lambda: (1, 2))
    assert len(model.evaluator().evaluate(loader_of(Images()), 1).images) == 0


def test_saved_files_are_named_as_published_and_do_not_clash(tmp_path: Path) -> None:
    IdentityModel(tmp_path).evaluator().evaluate(loader_of(Images(3)), 5000, save_img=True)
    files = sorted(str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*.png"))
    assert files == ["a/0/0_5000.png", "a/1/1_5000.png", "b/0/0_5000.png"]
    saved = cv2.imread(str(tmp_path / "a/1/1_5000.png"))[..., ::-1]
    np.testing.assert_array_equal(saved, np.round(Images()[2]["lq"].numpy().transpose(1, 2, 0) * 255))


@pytest.mark.parametrize(("suffix", "expected"), [(None, "Set5/a/0_run.png"), ("x4", "Set5/a/0_x4.png")])
def test_test_pictures(suffix: str | None, expected: str) -> None:
    model = IdentityModel(Path("v"), is_train=False)
    model.opt["val"] = {"suffix": suffix}
    assert model.evaluator().path_of("Set5", "a/0", "run") == Path("v") / expected


def test_summary_names_sets_only_where_there_are_several(tmp_path: Path) -> None:
    one, other, free = Images(2), Images(2), Images(1, has_gt=False)
    other.opt = {**other.opt, "name": "Set14"}
    model = IdentityModel(tmp_path / "visualization")
    for datasets, names in (
        ([one, free], ["a/0", "b/0"]),
        ([one, other], ["Set5/a/0", "Set5/b/0", "Set14/a/0", "Set14/b/0"]),
    ):
        loaders = [loader_of(dataset) for dataset in datasets]
        model.evaluator().finish(loaders, 10, tmp_path, None, model.measure)
        summary = json.loads((tmp_path / "summary.json").read_text())
        assert list(summary) == names
    scores = scores_of(model.evaluator().evaluate(loader_of(one), 10))
    assert summary["Set5/b/0"] == {"bicubic": scores["b/0"], "net_g": scores["b/0"]}
    assert (tmp_path / "visualization/Set14/a/0_comparison.png").is_file()


def test_without_ground_truth_only_no_reference_metrics_apply(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = {**METRICS, "niqe": {"type": "calculate_niqe", "crop_border": 0}}
    value = {True: torch.tensor([4.5]), False: torch.tensor([math.nan])}
    monkeypatch.setattr(Metric, "measure", lambda self, sr, gt: value[gt is None])
    model = IdentityModel(tmp_path, is_train=False, metrics=metrics)
    evaluation = model.evaluator().evaluate(loader_of(Images(2, has_gt=False)), "run")
    assert scores_of(evaluation) == {"a/0": {"niqe": 4.5}, "b/0": {"niqe": 4.5}}
    assert list(evaluation.protocols) == ["niqe"]
    assert len(evaluation.images) == 2


def test_images_are_not_kept(tmp_path: Path) -> None:
    import weakref

    alive: list[weakref.ref[Tensor]] = []

    def batches() -> Iterator[dict[str, Any]]:
        for index in range(6):
            gc_count = sum(ref() is not None for ref in alive)
            assert gc_count <= 2
            lq = torch.full((1, 3, 16, 16), index / 10)
            alive.append(weakref.ref(lq))
            yield {"lq": lq, "lq_path": [f"{index}.png"]}

    IdentityModel(tmp_path).evaluator().evaluate(batches(), 1)
    assert len(alive) == 6


def test_best_follows_the_metrics_direction(tmp_path: Path) -> None:
    metrics = {
        "psnr": {"type": "calculate_psnr", "crop_border": 0},
        "lpips": {"type": "calculate_lpips", "crop_border": 0},
        "odd": {"type": "calculate_psnr", "crop_border": 0, "better": "lower"},
    }
    model = IdentityModel(tmp_path, metrics=metrics)
    for iteration, value in ((1, 2.0), (2, 3.0), (3, 1.0), (4, math.nan), (5, 3.0)):
        model.evaluator().record(Evaluation("Set5", {"a": {"net_g": dict.fromkeys(metrics, value)}}), iteration)
    best = model.best_metric_results
    assert {name: entry["iter"] for name, entry in best["Set5"].items()} == {"psnr": 2, "lpips": 3, "odd": 3}
    assert json.loads(json.dumps(best)) == best


def test_protocols_stand_beside_numbers(tmp_path: Path) -> None:
    lines = IdentityModel(tmp_path).evaluator().evaluate(loader_of(Images(1)), 1).protocols
    assert "2 px" in lines["psnr"]
    assert "Y" in lines["psnr"]


def test_names_keep_what_tells_files_apart() -> None:
    paths = [{"lq_path": f"data/lq/{name}"} for name in ("x.png", "x.jpg", "deep/x.png", "v1.5.png")]
    namer = ImageNamer(SimpleNamespace(opt={"dataroot_lq": "data/lq"}, paths=paths))
    names = [namer.name_path(entry["lq_path"]) for entry in paths]
    assert names == ["x_png", "x_jpg", "deep/x", "v1.5"]
    assert namer.name_path("../../escape.png") == "escape"
    assert namer.name_path("/elsewhere/y.png") == "y"
    assert namer.name_path("0801_s001") == "0801_s001"
    assert namer.name_batch({"lq": torch.zeros(1)}, 3) == (3, "00003")
    assert namer.name_batch({"lq_path": ["data/lq/v1.5.png"]}, 1) == (3, "v1.5")


def test_unreadable_images_do_not_shift_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Leaving:
        """Leaves out the unreadable image, as the project's loader does."""

        def __init__(self, rank: int) -> None:
            self.dataset = Images(5)
            self.sampler = ShardSampler(self.dataset, rank, 2)

        def __iter__(self) -> Iterator[dict[str, Any]]:
            batches = loader_of(self.dataset, self.sampler)
            return (batch for batch in batches if batch["lq_path"] != ["/data/lq/a/0.png"])

    parts: list[dict[tuple[int, str], Any]] = []

    def gather(part: dict[tuple[int, str], Any]) -> list[dict[tuple[int, str], Any]]:
        parts.append(part)
        return parts

    monkeypatch.setattr(validation, "gather_objects", gather)
    for rank in (0, 1):
        monkeypatch.setattr(validation, "get_dist_info", lambda rank=rank: (rank, 2))
        evaluation = IdentityModel(tmp_path).evaluator().evaluate(Leaving(rank), 1)
    assert list(evaluation.images) == ["b/0", "a/1", "b/1", "a/2"]
