"""Images that a metric cannot measure: named once, out of its mean, and without harm to other metrics and images."""

from __future__ import annotations

import csv
import json
import logging
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from basicsr.evaluation import results, validation
from basicsr.evaluation.results import Evaluation, describe, describe_means, write_results
from basicsr.evaluation.spectra import SpectraMonitor
from basicsr.evaluation.validation import Evaluator, ValOptions
from basicsr.metrics import Levels, Metric, Unmeasurable
from basicsr.utils.errors import ArgumentError, WeightsError
from basicsr.utils.registry import METRIC_REGISTRY

PSNR = {"type": "calculate_psnr", "crop_border": 2}
SSIM = {"type": "calculate_ssim", "crop_border": 2}
NIQE = {"type": "calculate_niqe", "crop_border": 0}
LOW = {"type": "calculate_spectral_distance", "crop_border": 0, "band": "low"}
WHOLE = {"type": "calculate_spectral_distance", "crop_border": 0}


class Pairs(Dataset[dict[str, Any]]):
    """Noisy images and their ground truth, of the sizes asked for."""

    def __init__(self, sizes: dict[str, tuple[int, int]], name: str, noise: float = 0.1, flat: bool = False) -> None:
        self.opt = {"name": name, "dataroot_lq": "/lq"}
        self.paths = [f"/lq/{image}.png" for image in sizes]
        self.samples = []
        for height, width in sizes.values():
            generator = torch.Generator().manual_seed(height)
            gt = torch.full((3, height, width), 0.4) if flat else torch.rand(3, height, width, generator=generator)
            lq = (gt + noise * torch.randn(gt.shape, generator=generator)).clamp(0, 1)
            self.samples.append({"lq": lq, "gt": gt})

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.samples[index], "lq_path": self.paths[index]}


class Writer:
    def __init__(self) -> None:
        self.scalars: dict[str, float] = {}
        self.images: list[tuple[int, ...]] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name] = value

    def add_image(self, name: str, image: np.ndarray, step: int, dataformats: str) -> None:
        self.images.append(image.shape)


def evaluator_of(metrics: dict[str, Any], **settings: Any) -> Evaluator:
    val = ValOptions.model_validate({"metrics": metrics, "pbar": False})
    return Evaluator(lambda batch: batch["lq"], val, **settings)


def evaluate(dataset: Pairs, metrics: dict[str, Any], **asked: Any) -> Evaluation:
    return evaluator_of(metrics).evaluate(DataLoader(dataset), 1, **asked)


def values_of(evaluation: Evaluation, metric: str) -> list[float]:
    return [methods["net_g"][metric] for methods in evaluation.images.values()]


def test_each_metric_is_taken_of_the_images_that_it_can_measure() -> None:
    sizes = {"a": (24, 20), "thin": (24, 3), "short": (12, 30), "b": (16, 16)}
    metrics = {"psnr": PSNR, "ssim": SSIM, "niqe": NIQE, "low": LOW}
    found = evaluate(Pairs(sizes, "sizes"), metrics)
    assert list(found.images) == list(sizes)
    assert np.isfinite(values_of(found, "psnr")).tolist() == [True, False, True, True]
    assert np.isfinite(values_of(found, "ssim")).tolist() == [True, False, False, True]
    assert not np.isfinite(values_of(found, "niqe")).any()
    assert np.isfinite(values_of(found, "low")).all()
    averages = found.averages()
    assert {metric: average[1:] for metric, average in averages.items()} == {
        "psnr": (3, 4),
        "ssim": (2, 4),
        "niqe": (0, 4),
        "low": (4, 4),
    }
    psnr = values_of(found, "psnr")
    assert averages["psnr"].value == pytest.approx((psnr[0] + psnr[2] + psnr[3]) / 3)
    assert math.isnan(averages["niqe"].value)
    reasons = found.left_out["thin"]["net_g"]
    assert reasons["psnr"] == "cannot cut 2 pixels off each side of an image of 24x3"
    assert "96x96" in reasons["niqe"] and "low" not in reasons
    assert "11x11" in found.left_out["short"]["net_g"]["ssim"]
    assert list(found.left_out["b"]["net_g"]) == ["niqe"]


def test_results_of_another_size_or_kind_are_left_out_and_shown(tmp_path: Path) -> None:
    dataset, writer = Pairs({"a": (20, 20), "b": (16, 16), "c": (18, 18)}, "other"), Writer()
    dataset.samples[1]["gt"] = dataset.samples[1]["gt"][:, :10]
    dataset.samples[2]["gt"] = dataset.samples[2]["gt"][:1]
    found = evaluate(dataset, {"psnr": PSNR}, tb_logger=writer, compare=True, pictures=tmp_path)
    assert found.averages().keys() == {"psnr"} and found.averages()["psnr"].measured == 1
    assert "(1, 3, 16, 16) and (1, 3, 10, 16)" in found.left_out["b"]["net_g"]["psnr"]
    assert "(1, 3, 18, 18) and (1, 1, 18, 18)" in found.left_out["c"]["net_g"]["psnr"]
    assert writer.images == [(20, 40, 3), (10, 32, 3), (18, 36, 3)]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a_comparison.png", "c_comparison.png"]


def test_spectra_of_tiny_images_are_left_out_too() -> None:
    evaluator = evaluator_of({"low": LOW, "all": WHOLE}, monitor=SpectraMonitor())
    found = evaluator.evaluate(DataLoader(Pairs({"a": (24, 20), "dot": (2, 2)}, "spectra")), 1)
    assert found.spectra is not None and found.spectra.num_images == 1
    assert list(found.left_out) == ["dot"] and "2x2" in found.left_out["dot"]["net_g"]["low"]


def test_a_band_without_frequencies_is_left_out() -> None:
    high = {**WHOLE, "band": "middle"}
    for monitor in (None, SpectraMonitor()):
        found = evaluator_of({"all": WHOLE, "middle": high}, monitor=monitor).evaluate(
            DataLoader(Pairs({"a": (24, 20), "dot": (2, 40)}, "bands")), 1
        )
        assert list(found.left_out) == ["dot"]


def own_metric(monkeypatch: pytest.MonkeyPatch, error: Exception) -> dict[str, Any]:
    def calculate_own(img: np.ndarray, img2: np.ndarray) -> float:
        if len(img) == 16:
            raise error
        return float(len(img))

    monkeypatch.setitem(METRIC_REGISTRY._entries, "calculate_own", calculate_own)
    return {"own": {"type": "calculate_own", "better": "higher"}, "psnr": PSNR}


def test_own_metrics_refuse_an_image_by_a_value_error(monkeypatch: pytest.MonkeyPatch) -> None:
    metrics = own_metric(monkeypatch, ValueError("no face found\nin this image"))
    found = evaluate(Pairs({"a": (24, 20), "b": (16, 16)}, "own"), metrics)
    assert found.means()["own"] == 24
    assert found.left_out == {"b": {"net_g": {"own": "no face found"}}}
    image = Levels(torch.rand(1, 3, 16, 16))
    with pytest.raises(Unmeasurable, match="no face found"):
        Metric(metrics["own"]).measure(image, image)


@pytest.mark.parametrize(
    "error", [TypeError("wrong"), KeyError("wrong"), WeightsError("wrong"), ArgumentError("mode", "wrong")]
)
def test_other_errors_end_the_run(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(type(error), match="wrong"):
        evaluate(Pairs({"b": (16, 16)}, "errors"), own_metric(monkeypatch, error))


def test_equal_and_flat_images_are_called_that() -> None:
    equal = evaluate(Pairs({"a": (24, 20)}, "equal", noise=0), {"psnr": PSNR, "ssim": SSIM})
    assert equal.left_out == {"a": {"net_g": {"psnr": "equal to its ground truth"}}}
    assert equal.means()["psnr"] == math.inf and equal.means()["ssim"] == pytest.approx(1)
    flat = evaluate(Pairs({"a": (200, 100)}, "flat", noise=0, flat=True), {"niqe": NIQE})
    assert flat.left_out == {"a": {"net_g": {"niqe": "the image is flat"}}}


def mixed() -> Evaluation:
    dataset = Pairs({"a": (24, 20), "thin": (24, 3), "same": (16, 16)}, "mixed")
    dataset.samples[2]["lq"] = dataset.samples[2]["gt"]
    return evaluate(dataset, {"psnr": PSNR, "low": LOW}, compare=True)


def test_tables_say_what_stands_behind_a_dash() -> None:
    found = mixed()
    lines = describe(found).splitlines()
    cells = {tuple(line.split()[:2]): line.split()[2:] for line in lines[3:11]}
    psnr = f"{values_of(found, 'psnr')[0]:.4g}"
    assert cells["a", "net_g"][0] == psnr
    assert cells["thin", "net_g"][0] == "–"
    assert cells["same", "net_g"][0] == "inf"
    assert cells["mean", "net_g"][:4] == [psnr, "(1", "of", "3)"]
    reason = "cannot cut 2 pixels off each side of an image of 24x3"
    line = f"psnr, left out of the mean: thin ({reason}), same (equal to its ground truth)"
    assert lines[-1] == line
    assert describe_means([found]).splitlines()[-1] == f"mixed, {line}"


def test_many_images_are_counted_not_named() -> None:
    lines = describe(evaluate(Pairs({f"i{n:02d}": (3, 3) for n in range(14)}, "many"), {"psnr": PSNR})).splitlines()
    assert lines[-1].startswith("psnr, left out of the mean: i00, i01, i02,") and lines[-1].endswith(" and 4 more")
    assert "i09" in lines[-1] and "i10" not in lines[-1]


def test_files_have_reasons_and_counts(tmp_path: Path) -> None:
    found = mixed()
    write_results([found], tmp_path)
    content = json.loads((tmp_path / "metrics.json").read_text())["mixed"]
    assert content["num_measured"] == {"bicubic": {"psnr": 1, "low": 3}, "net_g": {"psnr": 1, "low": 3}}
    assert content["mean"]["net_g"]["psnr"] == values_of(found, "psnr")[0]
    assert content["images"]["same"]["net_g"]["psnr"] is None
    assert content["left_out"]["same"]["net_g"] == {"psnr": "equal to its ground truth"}
    with (tmp_path / "metrics.csv").open(newline="") as file:
        rows = {(row["image"], row["method"]): row for row in csv.DictReader(file)}
    assert [rows[image, "net_g"]["psnr"] for image in ("thin", "same")] == ["", "inf"]
    assert rows["thin", "net_g"]["note"] == "psnr: cannot cut 2 pixels off each side of an image of 24x3"
    assert rows["a", "net_g"]["note"] == ""
    assert all(float(row["low"]) >= 0 for row in rows.values())


def test_the_log_names_an_image_once_and_counts_at_every_validation(caplog: pytest.LogCaptureFixture) -> None:
    results._warn_once.cache_clear()
    evaluator, writer = evaluator_of({"psnr": PSNR, "ssim": SSIM, "niqe": NIQE}, is_train=True), Writer()
    loader = DataLoader(Pairs({"a": (24, 20), "thin": (24, 3)}, "logged"))
    with caplog.at_level(logging.INFO, logger="basicsr"):
        for iteration in (1, 2):
            evaluation = evaluator.evaluate(loader, iteration)
            evaluator.record(evaluation, iteration, writer)
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    reason = "cannot cut 2 pixels off each side of an image of 24x3"
    assert [line.split(" (")[0] for line in warnings] == [
        "logged, a: left out of the mean of niqe",
        "logged, thin: left out of the mean of psnr, ssim",
    ]
    assert reason in warnings[1]
    told = [record.getMessage() for record in caplog.records if "iteration" in record.getMessage()]
    assert len(told) == 2
    for text in told:
        assert "# psnr: " in text and " (1 of 2)  best" in text
        assert "# niqe: nan (0 of 2)" in text and reason not in text
    assert writer.scalars == {f"metrics/logged/{key}": evaluation.means()[key] for key in ("psnr", "ssim")}
    assert evaluator.best["logged"].keys() == {"psnr", "ssim"}


def test_ranks_leave_out_what_one_process_does(monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = Pairs({"a": (24, 20), "thin": (24, 3), "b": (16, 16)}, "ranks")
    metrics = {"psnr": PSNR, "ssim": SSIM}
    alone = evaluate(dataset, metrics)
    parts: list[Any] = []

    def gather(part: Any) -> Sequence[Any]:
        parts.append(part)
        return parts

    monkeypatch.setattr(validation, "gather_objects", gather)
    for rank in (0, 1):
        monkeypatch.setattr(validation, "get_dist_info", lambda rank=rank: (rank, 2))
        together = evaluate(dataset, metrics)
    assert together.left_out == alone.left_out != {}
    assert together.averages() == alone.averages()


def test_negative_borders_are_refused_before_the_run() -> None:
    with pytest.raises(ValueError, match="crop_border"):
        ValOptions.model_validate({"metrics": {"psnr": {**PSNR, "crop_border": -1}}})


def test_a_prediction_is_still_made_of_images_that_no_metric_measures(tmp_path: Path) -> None:
    made: list[Tensor] = []

    def predict(batch: dict[str, Any]) -> Tensor:
        made.append(batch["lq"])
        return batch["lq"]

    val = ValOptions.model_validate({"metrics": {"niqe": NIQE}, "pbar": False})
    evaluator = Evaluator(predict, val, folder=tmp_path, name="run")
    found = evaluator.evaluate(DataLoader(Pairs({"a": (3, 3), "b": (4, 4)}, "kept")), "run", save_img=True)
    assert len(made) == len(found.images) == 2 and found.protocols.keys() == {"niqe"}
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == ["a_run.png", "b_run.png"]
