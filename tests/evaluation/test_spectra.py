"""Spectra while training: what is logged, that it is right, and that nothing else changes."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from basicsr.evaluation import spectra, validation
from basicsr.evaluation.critic_accuracy import cut_crop, evaluating
from basicsr.evaluation.dataset_images import MeasuredImage
from basicsr.metrics import Levels, calculate_spectral_distance
from basicsr.models import build_model
from basicsr.models.sr_model import SRModel
from basicsr.processing.filters import USMSharp
from basicsr.spectral import fourier
from basicsr.utils.img_util import img2tensor, tensor2img
from basicsr.utils.registry import ARCH_REGISTRY

SGD = {"type": "SGD", "lr": 0.01}
SIZE = 32
DISTANCE = {"type": "calculate_spectral_distance", "crop_border": 2}


@ARCH_REGISTRY.register()
class NormedCritic(nn.Module):
    """A critic with all that moves in a forward pass: batch norm, both kinds of spectral norm, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.utils.spectral_norm(nn.Conv2d(3, 4, 3, 2)),
            nn.BatchNorm2d(4),
            nn.LeakyReLU(0.2),
            nn.Dropout(0.5),
            nn.utils.parametrizations.spectral_norm(nn.Conv2d(4, 1, 3, 2)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)


class Pairs(Dataset[dict[str, Any]]):
    def __init__(self, count: int = 5, side: int = 40, has_gt: bool = True) -> None:
        self.opt = {"name": "Set5"}
        gt = torch.rand(count, 3, side + 8, side, generator=torch.Generator().manual_seed(count))
        self.gt = torch.nn.functional.avg_pool2d(gt, 3, 1, 1)
        self.has_gt = has_gt

    def __len__(self) -> int:
        return len(self.gt)

    def __getitem__(self, index: int) -> dict[str, Any]:
        lq = torch.nn.functional.avg_pool2d(self.gt[index], 2)
        sample = {"lq": lq, "lq_path": f"{index}.png"}
        return sample | {"gt": self.gt[index]} if self.has_gt else sample


class RecordingWriter:
    def __init__(self) -> None:
        self.scalars: dict[str, float] = {}
        self.images: dict[str, np.ndarray] = {}

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.scalars[name] = value

    def add_image(self, name: str, image: np.ndarray, step: int, dataformats: str) -> None:
        self.images[name] = image


def options(root: Path | None = None, model_type: str = "SRGANModel", **changes: Any) -> dict[str, Any]:
    spsr = model_type == "SPSRModel"
    generator = {"type": "SRVGGNetCompact", "num_feat": 4, "num_conv": 1, "upscale": 2}
    opt: dict[str, Any] = {
        "model_type": model_type,
        "scale": 2,
        "num_gpu": 0,
        "is_train": True,
        "path": {} if root is None else {"experiments_root": str(root)},
        "network_g": {"type": "SPSRNet", "in_nc": 3, "out_nc": 3, "nf": 4, "nb": 2, "upscale": 2}
        if spsr
        else generator,
        "network_d": {"type": "NormedCritic"},
        "net_grad_d": {"type": "NormedCritic"},
        "datasets": {"train": {"gt_size": SIZE}},
        "train": {
            "ema_decay": 0.9,
            "optim_g": SGD,
            "optim_d": SGD,
            "optim_grad_d": SGD,
            "scheduler": {"type": "MultiStepLR", "milestones": [100]},
            "pixel_opt": {"type": "L1Loss"},
            "gan_opt": {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1},
        },
        "val": {"spectra": True, "pbar": False, "metrics": {}},
    }
    return opt | changes


def build(opt: dict[str, Any]) -> SRModel:
    torch.manual_seed(0)
    model = build_model(opt)
    assert isinstance(model, SRModel)
    return model


def loader_of(dataset: Pairs) -> DataLoader[Any]:
    return DataLoader(dataset, batch_size=1)


def validate(model: SRModel, dataset: Pairs | None = None, writer: Any = None, iteration: int = 10) -> dict[str, Any]:
    return model.validation(loader_of(dataset or Pairs()), iteration, writer)


def images_of(model: SRModel, dataset: Pairs) -> list[dict[str, Tensor]]:
    found = []
    for batch in loader_of(dataset):
        model.feed_data(batch)
        model.test()
        found.append(model.get_current_visuals())
    return found


def add_image(collector: spectra.SpectraCollector, index: int, sr: Tensor, gt: Tensor) -> None:
    lq = torch.nn.functional.avg_pool2d(gt[None].float(), 2)
    levels = {"net_g": Levels(sr[None])}
    collector.add(MeasuredImage(index, str(index), lq, sr[None], gt[None], levels, Levels(gt[None])))


def read(root: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (root / "spectra.jsonl").read_text().splitlines()]


def test_spectra_of_ground_truth_are_taken_once_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    model, counted = build(options()), []
    measure = spectra.measure_spectrum

    def count(images: Tensor, **protocol: Any) -> Any:
        counted.append(len(images))
        return measure(images, **protocol)

    monkeypatch.setattr(spectra, "measure_spectrum", count)
    validate(model, Pairs(3))
    assert len(counted) == 6
    validate(model, Pairs(3), iteration=20)
    assert len(counted) == 6 + 3
    # Another ground truth under the same name is another one.
    changed = Pairs(3)
    changed.gt[1] = changed.gt[1].flip(-1) * 0.5
    validate(model, changed, iteration=30)
    assert len(counted) == 6 + 3 + 4


def test_everything_is_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, writer = build(options(tmp_path)), RecordingWriter()
    with caplog.at_level(logging.INFO, "basicsr"):
        assert validate(model, writer=writer) == {"Set5": {}}
    expected = np.mean(
        [
            calculate_spectral_distance(tensor2img(image["result"]), tensor2img(image["gt"]), crop_border=2)
            for image in images_of(model, Pairs())
        ]
    )
    assert writer.scalars["spectra/Set5/distance"] == pytest.approx(expected, rel=1e-12)
    assert set(writer.scalars) == {
        "spectra/Set5/distance",
        "critics/Set5/d_accuracy_real",
        "critics/Set5/d_accuracy_generated",
    }
    picture = writer.images["spectra/Set5/profile"]
    assert picture.ndim == 3 and picture.std() > 10
    (entry,) = read(tmp_path)
    assert entry["iteration"] == 10 and entry["dataset"] == "Set5" and entry["images"] == 5
    assert entry["distance_db"] == pytest.approx(expected, abs=1e-4)
    assert entry["critics"]["d"] == {
        "accuracy_real": writer.scalars["critics/Set5/d_accuracy_real"],
        "accuracy_generated": writer.scalars["critics/Set5/d_accuracy_generated"],
        "images": 5,
    }
    assert len(entry["frequency"]) == len(entry["generated_db"]) == len(entry["gt_db"]) == spectra.NUM_POINTS
    # The generator's outputs are smoother than the images: less power at the highest frequencies.
    assert f"# spectral distance: {expected:.4f} dB" in caplog.text
    assert "# accuracy of critic d: " in caplog.text


def test_off_is_the_default_and_tests_have_none(tmp_path: Path) -> None:
    for change in ({"val": {"pbar": False}}, {"is_train": False}):
        model, writer = build(options(tmp_path, **change)), RecordingWriter()
        validate(model, writer=writer)
        assert not [name for name in (*writer.scalars, *writer.images) if name.startswith(("spectra", "critics"))]
    assert not (tmp_path / "spectra.jsonl").exists()


def test_profiles_are_means_over_images_of_all_sizes() -> None:
    monitor = spectra.SpectraMonitor(scale=2)
    rng = np.random.default_rng(0)
    parts = []
    images = [rng.integers(0, 256, (side, side + 20, 3), dtype=np.uint8) for side in (40, 64, 200)]
    for chosen in (images, *([image] for image in images)):
        collector = spectra.SpectraCollector(monitor, "Set5", len(chosen), {})
        for index, image in enumerate(chosen):
            add_image(collector, index, img2tensor(image // 2, float32=False), img2tensor(image, float32=False))
        found = collector.finish()
        assert found is not None and found.gt is not None
        parts.append(found)
    whole, singles = parts[0], parts[1:]
    assert whole.num_images == 3
    np.testing.assert_allclose(whole.generated, np.mean([part.generated for part in singles], axis=0))
    assert whole.distance == pytest.approx(np.mean([part.distance for part in singles]))
    # White noise is flat, and half of it lies 6 dB lower.
    np.testing.assert_allclose(singles[2].gt[4:], singles[2].gt[4:].mean(), atol=2.5)
    np.testing.assert_allclose((whole.gt - whole.generated)[4:], 20 * np.log10(2), atol=0.5)


@pytest.mark.parametrize(
    ("listed", "num_transforms"), [({}, 2), ({"x": DISTANCE}, 2), ({"y": {**DISTANCE, "crop_border": 0}}, 2)]
)
def test_each_image_is_transformed_once(
    listed: dict[str, Any], num_transforms: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = 0
    transform = torch.fft.rfft2

    def counting(*args: Any, **kwargs: Any) -> Tensor:
        nonlocal count
        count += 1
        return transform(*args, **kwargs)

    model = build(options(model_type="SRModel", val={"spectra": True, "pbar": False, "metrics": listed}))
    monkeypatch.setattr(fourier.torch.fft, "rfft2", counting)
    validate(model, Pairs(3))
    assert count == 3 * num_transforms


def test_listed_distances_keep_their_values_and_their_line(caplog: pytest.LogCaptureFixture) -> None:
    metrics = {
        "psnr": {"type": "calculate_psnr", "crop_border": 2},
        "all": {**DISTANCE, "test_y_channel": False},
        "high": {**DISTANCE, "test_y_channel": False, "band": "high"},
        "luma": DISTANCE,
    }
    found = []
    for is_on in (False, True):
        model, writer = build(options(val={"spectra": is_on, "pbar": False, "metrics": metrics})), RecordingWriter()
        with caplog.at_level(logging.INFO, "basicsr"):
            found.append(validate(model, writer=writer)["Set5"])
    assert found[0] == found[1]
    assert list(found[1]) == list(metrics)
    assert writer.scalars["spectra/Set5/distance"] == pytest.approx(found[1]["all"], rel=1e-12)
    assert "spectral distance:" not in caplog.text


@pytest.mark.parametrize("model_type", ["SRGANModel", "ESRGANModel", "SPSRModel", "BebyGANModel"])
def test_critics_see_what_they_see_in_training(model_type: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model = build(options(model_type=model_type))
    dataset = Pairs()
    seen: list[Tensor] = []
    for critic in model.critics:
        critic.bare_net.register_forward_hook(lambda net, inputs, output: seen.append(inputs[0]))
    evaluation = model.evaluator().evaluate(loader_of(dataset), 1)
    visuals = images_of(model, dataset)
    sr, gt = (torch.cat([v[key][..., 8:40, 4:36] for v in visuals]) for key in ("result", "gt"))
    lq = torch.cat([v["lq"][..., 4:20, 2:18] for v in visuals])
    mask = model.find_detail(lq)
    assert (mask is None) == (model_type != "BebyGANModel")
    both = torch.cat([gt, sr]) if mask is None else torch.cat([gt * mask, sr * mask])
    torch.testing.assert_close(seen[0], both)
    assert len(seen) == len(model.critics)
    if model_type == "SPSRModel":
        assert seen[1].shape == (10, 3, SIZE + 2, SIZE + 2)
    assert evaluation.spectra is not None
    assert set(evaluation.spectra.critics) == {critic.name for critic in model.critics}
    with torch.no_grad(), evaluating([model.critics[0].bare_net]):
        logits = model.critics[0].judge_unwrapped(both)
    real, fake = logits[:5], logits[5:]
    limits = (fake.mean(), real.mean()) if model_type in ("ESRGANModel", "BebyGANModel") else (0, 0)
    accuracy = evaluation.spectra.critics["d"]
    assert accuracy.real == pytest.approx((real > limits[0]).double().mean().item())
    assert accuracy.generated == pytest.approx((fake < limits[1]).double().mean().item())


def test_sharpened_truth_is_what_critics_see_where_training_sharpens_it() -> None:
    lq, gt, sr = (torch.rand(2, 3, side, side) for side in (8, 16, 16))
    for model_type, is_sharp in (("RealESRGANModel", True), ("SRGANModel", False)):
        model = build(options(model_type=model_type, gan_gt_usm=True))
        real, fake = model.validation_images(lq, gt, sr)
        torch.testing.assert_close(real, USMSharp()(gt) if is_sharp else gt)
        assert fake is sr


def test_critics_that_are_perfect_or_lost_are_said_to_be() -> None:
    model = build(options())
    panel = model.spectra_monitor.critics
    assert panel is not None
    crops = [(torch.zeros(1, 3, 4, 4), torch.ones(1, 3, 8, 8), torch.zeros(1, 3, 8, 8))] * 11

    class Brightness(nn.Module):
        def __init__(self, sign: float) -> None:
            super().__init__()
            self.sign = sign

        def forward(self, x: Tensor) -> Tensor:
            return self.sign * (x.mean((1, 2, 3)) - 0.5)[:, None]

    for sign, share in ((1.0, 1.0), (-1.0, 0.0)):
        model.critics[0].net = Brightness(sign)
        assert panel.judge(crops) == {"d": (share, share, 11)}


def test_no_network_moves() -> None:
    model = build(options(model_type="SPSRModel"))
    model.critics[0].bare_net.body[3].eval()
    modes = [module.training for net in model.networks().values() for module in net.modules()]
    state = {
        f"{name}.{key}": value.clone()
        for name, net in model.networks().items()
        for key, value in net.state_dict().items()
    }
    random_state = torch.get_rng_state()
    validate(model)
    assert [module.training for net in model.networks().values() for module in net.modules()] == modes
    after = {
        f"{name}.{key}": value for name, net in model.networks().items() for key, value in net.state_dict().items()
    }
    assert any("running_mean" in key for key in state) and any("_u" in key for key in state)
    for key, value in state.items():
        assert torch.equal(after[key], value), key
    assert all(not critic._kept and critic._joint is None for critic in model.critics)
    assert all(p.requires_grad for critic in model.critics for p in critic.net.parameters())
    # The loader draws one number for its processes, as it does in any validation.
    plain = build(options(model_type="SPSRModel", val={"pbar": False}))
    torch.set_rng_state(random_state)
    validate(plain)
    with_none = torch.get_rng_state()
    torch.set_rng_state(random_state)
    validate(model)
    assert torch.equal(torch.get_rng_state(), with_none)


def test_training_ends_in_the_same_bits() -> None:
    ends = []
    for is_on in (False, True):
        model = build(options(val={"spectra": is_on, "pbar": False}))
        for iteration in range(1, 5):
            model.begin_iteration(iteration)
            gt = torch.rand(2, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(iteration))
            model.feed_data({"lq": torch.nn.functional.avg_pool2d(gt, 2), "gt": gt})
            model.optimize_parameters(iteration)
            validate(model, Pairs(3), RecordingWriter(), iteration)
        ends.append(model.training_state()["networks"])
    assert ends[0].keys() == ends[1].keys()
    for name, network in ends[0].items():
        for key, value in network.items():
            assert torch.equal(ends[1][name][key], value), f"{name} {key}"


def test_few_images_of_many_are_judged_and_spread(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = spectra.SpectraCollector(build(options()).spectra_monitor, "Set5", 50, {})
    for index in range(50):
        add_image(collector, index, torch.rand(3, 40, 40), torch.rand(3, 40, 40))
    assert list(collector._crops) == list(range(0, 50, 4))
    assert len(collector._crops) <= spectra.MAX_JUDGED


def test_images_smaller_than_the_critics_are_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, writer = build(options(tmp_path)), RecordingWriter()
    for iteration in (10, 20):
        validate(model, Pairs(side=24), writer, iteration)
    assert caplog.text.count("smaller than the critics' 32x32 pixels") == 1
    assert [entry["critics"] for entry in read(tmp_path)] == [{}, {}]
    assert "spectra/Set5/distance" in writer.scalars


def test_without_ground_truth_there_is_the_profile_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    model, writer = build(options(tmp_path)), RecordingWriter()
    for iteration in (10, 20):
        validate(model, Pairs(has_gt=False), writer, iteration)
    assert caplog.text.count("no ground truth") == 1
    assert writer.scalars == {}
    assert "spectra/Set5/profile" in writer.images
    entry = read(tmp_path)[-1]
    assert entry["distance_db"] is None and entry["gt_db"] is None and len(entry["generated_db"]) == 64
    assert entry["images"] == 5


def test_without_a_training_size_critics_are_not_judged(caplog: pytest.LogCaptureFixture) -> None:
    model = build(options(datasets={}))
    evaluation = model.evaluator().evaluate(loader_of(Pairs()), 1)
    assert evaluation.spectra is not None
    assert evaluation.spectra.critics == {}
    assert caplog.text.count("no gt_size") == 1


@pytest.mark.parametrize(
    "opt",
    [{"gt_size": 8}, {"degradation": {"gt_size": 8}}, {"datasets": {"train": {"gt_size": 8}}, "gt_size": None}],
)
def test_the_training_size_stands_in_one_of_three_places(opt: dict[str, Any]) -> None:
    assert spectra.training_size(opt) == 8


def test_images_without_a_profile_are_left_out(caplog: pytest.LogCaptureFixture) -> None:
    model = build(options(model_type="SRModel"))
    evaluation = model.evaluator().evaluate(loader_of(Pairs(side=4)), 1)
    assert evaluation.spectra is None
    assert caplog.text.count("has no profile") == 1
    model.evaluator().record(evaluation, 1, RecordingWriter())


def test_models_without_critics_have_spectra(tmp_path: Path) -> None:
    model, writer = build(options(tmp_path, "SRModel")), RecordingWriter()
    validate(model, writer=writer)
    assert set(writer.scalars) == {"spectra/Set5/distance"}
    assert read(tmp_path)[0]["critics"] == {}


@pytest.mark.parametrize("num_shards", [2, 3])
def test_ranks_together_give_what_one_process_gives(num_shards: int, monkeypatch: pytest.MonkeyPatch) -> None:
    alone = build(options()).evaluator().evaluate(loader_of(Pairs(7)), 1).spectra
    assert alone is not None
    shares: dict[str, list[Any]] = {"measure": [], "finish": []}
    monkeypatch.setattr(validation, "gather_objects", lambda part: [*shares["measure"], part])
    monkeypatch.setattr(spectra, "gather_objects", lambda part: shares["finish"].append(part) or shares["finish"])
    monkeypatch.setattr(spectra, "get_dist_info", lambda: (0, num_shards))
    for rank in range(num_shards):
        monkeypatch.setattr(validation, "get_dist_info", lambda rank=rank: (rank, num_shards))
        together = build(options()).evaluator().evaluate(loader_of(Pairs(7)), 1).spectra
    assert together is not None
    assert together.critics == alone.critics
    assert together.critics["d"].num_images == 7
    assert together.distance == alone.distance
    np.testing.assert_array_equal(together.generated, alone.generated)


def test_crops_are_the_centre_on_the_pixel_grid_of_lq() -> None:
    lq = torch.arange(7 * 9, dtype=torch.float32).view(1, 1, 7, 9)
    gt = lq.repeat_interleave(3, 2).repeat_interleave(3, 3)
    crop = cut_crop(lq, gt, gt + 1, 12, 3)
    assert crop is not None
    torch.testing.assert_close(crop[0], lq[..., 1:5, 2:6])
    torch.testing.assert_close(crop[1], gt[..., 3:15, 6:18])
    torch.testing.assert_close(crop[2], crop[1] + 1)
    assert cut_crop(lq, gt, gt, 24, 3) is None


def test_lines_of_a_resumed_run_replace_those_it_writes_anew(tmp_path: Path) -> None:
    path = tmp_path / "run" / "spectra.jsonl"
    profile = spectra.Spectra(spectra.FREQUENCY, None, None, 1)
    first = spectra.SpectraMonitor(path)
    for iteration in (10, 20, 30):
        first.record("Set5", profile, iteration)
    with path.open("ab") as file:
        file.write(b'\xff\xfe\n{"iteration": 5, "data')
    spectra.SpectraMonitor(path).record("Set14", profile, 20)
    assert [(entry["iteration"], entry["dataset"]) for entry in read(path.parent)] == [(10, "Set5"), (20, "Set14")]
