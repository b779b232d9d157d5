"""The step's own switches: accumulation, clipping, losses that are not finite, state, and which weights are tested."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from basicsr.adversarial import WassersteinObjective
from basicsr.losses.gan_loss import GANLoss
from basicsr.models import build_model
from basicsr.models.model_types import RealESRNetModel
from basicsr.models.options import ModelOptions
from basicsr.models.sr_model import SRModel
from basicsr.utils.errors import TrainingError, UserError, WeightsError

SGD = {"type": "SGD", "lr": 0.1}


def options(**train: Any) -> dict[str, Any]:
    return {
        "model_type": "SRModel",
        "scale": 2,
        "num_gpu": 0,
        "is_train": True,
        "path": {},
        "network_g": {"type": "SRVGGNetCompact", "num_feat": 4, "num_conv": 1, "upscale": 2},
        "train": {
            "ema_decay": 0.9,
            "optim_g": SGD,
            "scheduler": {"type": "MultiStepLR", "milestones": [100]},
            "pixel_opt": {"type": "L1Loss"},
            **train,
        },
    }


def build(**train: Any) -> SRModel:
    torch.manual_seed(0)
    model = build_model(options(**train))
    assert isinstance(model, SRModel)
    return model


def batch(seed: int = 0, size: int = 4) -> dict[str, Tensor]:
    gt = torch.rand(size, 3, 16, 16, generator=torch.Generator().manual_seed(seed))
    return {"lq": torch.nn.functional.avg_pool2d(gt, 2), "gt": gt}


def step(model: SRModel, iteration: int = 1, data: dict[str, Tensor] | None = None) -> None:
    model.begin_iteration(iteration)
    model.feed_data(data or batch(iteration))
    model.optimize_parameters(iteration)


def weights(model: SRModel) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in model.net_g.state_dict().items()}


def test_accumulated_parts_give_the_whole_batch_s_step() -> None:
    whole, parts = build(), build(accumulate_steps=2)
    step(whole)
    step(parts)
    torch.testing.assert_close(weights(parts), weights(whole), rtol=1e-5, atol=1e-6)
    assert parts.get_current_log() == pytest.approx(whole.get_current_log())
    torch.testing.assert_close(parts.output, whole.output)


def test_gradients_are_clipped_to_a_norm() -> None:
    model = build(clip_grad_norm=1e-3)
    before = weights(model)
    step(model)
    moved = torch.cat([(value - before[name]).flatten() for name, value in weights(model).items()]).norm()
    assert moved.item() == pytest.approx(0.1 * 1e-3, rel=1e-2)


PRECISIONS = ["fp32", "bf16", "fp16"]


@pytest.mark.parametrize("precision", PRECISIONS)
def test_every_precision_trains_on_the_cpu(precision: str) -> None:
    model = build(precision=precision, clip_grad_norm=1.0)
    losses = []
    for iteration in range(1, 25):
        step(model, iteration, batch())
        losses.append(model.get_current_log()["l_pix"])
    assert losses[-1] < 0.98 * losses[0]
    resumed = build(precision=precision, clip_grad_norm=1.0)
    resumed.load_training_state(model.training_state())
    for either in (model, resumed):
        step(either, 25)
    torch.testing.assert_close(weights(resumed), weights(model), rtol=0, atol=0)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("rests", [0, 9])
def test_a_network_whose_step_is_dropped_does_not_stop_the_others(rests: int, precision: str) -> None:
    opt = options(precision=precision, on_nonfinite="skip", net_d_init_iters=rests, optim_d=SGD)
    opt["train"]["gan_opt"] = {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 0.1}
    opt |= {"model_type": "SRGANModel", "network_d": {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 4}}
    torch.manual_seed(0)
    model = build_model(opt)
    assert isinstance(model, SRModel)
    critic = model.networks()["d"]
    before = [parameter.detach().clone() for parameter in critic.parameters()]
    bad = batch()
    bad["gt"][0, 0, 0, 0] = float("nan")
    for iteration in range(1, 4):
        step(model, iteration, bad)
    assert model.guard.num_skipped == 3
    for parameter, value in zip(critic.parameters(), before, strict=True):
        assert torch.equal(parameter, value)
    for iteration in range(4, 24):
        step(model, iteration)
    assert not all(torch.equal(p, value) for p, value in zip(critic.parameters(), before, strict=True))


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_step_that_is_not_finite_is_dropped_and_counted(precision: str) -> None:
    model = build(on_nonfinite="skip", precision=precision)
    before = weights(model)
    bad = batch()
    bad["gt"][0, 0, 0, 0] = float("nan")
    step(model, 1, bad)
    torch.testing.assert_close(weights(model), before, rtol=0, atol=0)
    assert model.guard.num_skipped == 1
    for _ in range(20 if precision == "fp16" else 1):  # the first scales are too large
        step(model, 2)
    assert not torch.equal(weights(model)["body.0.weight"], before["body.0.weight"])
    with pytest.raises(TrainingError, match="10 iterations in a row"):
        for iteration in range(3, 13):
            step(model, iteration, bad)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_loss_that_is_not_finite_is_reported_with_its_batch(precision: str) -> None:
    model = build(precision=precision)
    step(model)
    assert model.guard.poll(wait=True) is None
    bad = batch()
    bad["gt"][0, 0, 0, 0] = float("inf")
    before = weights(model)
    step(model, 2, bad)
    torch.testing.assert_close(weights(model), before, rtol=0, atol=0)
    report = model.guard.poll(wait=True)
    assert report is not None
    assert report.iteration == 2
    assert "l_pix" in report.terms
    torch.testing.assert_close(report.batch["gt"], bad["gt"])


def test_a_report_names_the_images_that_a_pool_gave_out() -> None:
    infinite = options(pixel_opt={"type": "L1Loss", "loss_weight": float("inf")})
    opt = {**infinite, "model_type": "SRHardGatedDegradationModel", "queue_size": 6, "gt_size": 8}
    model = build_model(opt)
    assert isinstance(model, SRModel)
    mixed = False
    for iteration in range(1, 9):
        shades = torch.arange(2 * iteration - 2, 2 * iteration)
        loaded = [f"{shade}.png" for shade in shades]
        gt = (shades / 16).view(2, 1, 1, 1).expand(2, 3, 16, 16)
        step(model, iteration, {"gt": gt, "kernel": torch.ones(2, 7, 7) / 49, "gt_path": loaded})
        report = model.guard.poll(wait=True)
        assert report is not None
        assert report.batch["gt_path"] == [f"{16 * image.mean():g}.png" for image in report.batch["gt"]]
        mixed |= report.batch["gt_path"] != loaded
    assert mixed


def test_a_generator_without_critics_steps_in_every_iteration() -> None:
    model = build(net_d_iters=5, net_d_init_iters=2)
    before = weights(model)
    step(model, 1)
    assert set(model.get_current_log()) == {"l_pix", "l_total"}
    assert not torch.equal(weights(model)["body.0.weight"], before["body.0.weight"])


def test_zero_is_a_number_and_null_is_the_default() -> None:
    gan = {"type": "GANLoss", "gan_type": "wgan", "flat_std": 0, "d_weight": None}
    opt = options(gan_opt=gan, gp_weight=0)
    typed = ModelOptions.of({**opt, "model_type": "ESRGANSimpleGatedDegradationWModel", "gt_size": 8})
    assert typed.objective is not None
    objective = typed.objective.build()
    assert isinstance(objective, WassersteinObjective)
    assert objective.gp_weight == 0
    beby = {**options(gan_opt={**gan, "gan_type": "vanilla"}), "model_type": "BebyGANModel"}
    typed = ModelOptions.of(beby)
    assert typed.critic_weights == {"d": 1}
    assert typed.train is not None and typed.train.flat_regions is not None
    assert typed.train.flat_regions.std == 0
    beby["train"]["gan_opt"]["flat_std"] = None
    typed = ModelOptions.of(beby)
    assert typed.train is not None and typed.train.flat_regions is not None
    assert typed.train.flat_regions.std == 0.025


def test_restored_state_goes_on_to_the_same_bits() -> None:
    first, second = build(), build()
    for iteration in (1, 2):
        step(first, iteration)
        first.update_learning_rate(iteration)
    torch.manual_seed(5)
    second.load_training_state(first.training_state())
    for model in (first, second):
        step(model, 3)
    torch.testing.assert_close(weights(second), weights(first), rtol=0, atol=0)
    averages = (first.net_g_ema.state_dict(), second.net_g_ema.state_dict())
    torch.testing.assert_close(averages[1], averages[0], rtol=0, atol=0)


def test_state_of_another_model_type_is_refused() -> None:
    state = build().training_state()
    state["networks"] = {}
    with pytest.raises(WeightsError, match=r"no network 'g'.*another model_type"):
        build().load_training_state(state)


@pytest.mark.parametrize("use_ema", [True, False])
def test_the_average_is_tested_unless_told_otherwise(use_ema: bool) -> None:
    opt = {**options(), "val": {"use_ema": use_ema}}
    model = build_model(opt)
    assert isinstance(model, SRModel)
    step(model)
    model.feed_data(batch(9))
    model.test()
    with torch.no_grad():
        expected = (model.net_g_ema if use_ema else model.net_g)(model.lq)
        other = (model.net_g if use_ema else model.net_g_ema)(model.lq)
    torch.testing.assert_close(model.output, expected)
    assert not torch.equal(expected, other)


def test_a_batch_that_cannot_be_split_says_so() -> None:
    with pytest.raises(ValueError, match=r"batch of 4.*accumulate_steps = 3"):
        step(build(accumulate_steps=3))


def test_unknown_model_types_are_named_with_the_nearest() -> None:
    with pytest.raises(UserError, match="ESRGANSpecModel"):
        build_model({**options(), "model_type": "ESRGANSpectModel"})


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("tile", [None, 16])
def test_generators_that_unshuffle_take_images_of_any_size(scale: int, tile: int | None) -> None:
    net = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_block": 1, "num_grow_ch": 4}
    opt = {**options(), "is_train": False, "scale": scale, "network_g": {**net, "scale": scale}}
    model = build_model({**opt, "val": {"tile": tile, "tile_overlap": 4}})
    assert isinstance(model, SRModel)
    lq = torch.rand(1, 3, 27, 37, generator=torch.Generator().manual_seed(0))
    model.feed_data({"lq": lq})
    model.test()
    assert model.output.shape == (1, 3, 27 * scale, 37 * scale)
    even = lq[..., :24, :36]
    model.feed_data({"lq": even})
    model.test()
    with torch.no_grad():
        whole = model.net_g(even)
    torch.testing.assert_close(model.output, whole, rtol=0, atol=1e-6 if tile is None else 0.05)


def test_a_pool_is_built_unless_every_image_draws_for_itself() -> None:
    opt = {**options(), "model_type": "SRHardGatedDegradationModel", "queue_size": 8, "gt_size": 8}
    assert ModelOptions.of({**opt, "degradation": {"gate": "sample"}}).pool_size == 0
    model = build_model(opt)
    assert isinstance(model, SRModel)
    assert model.pool is not None
    assert model.pool.queue_size == 8


def test_the_self_ensemble_is_the_mean_over_eight_symmetries() -> None:
    model = build_model({**options(), "is_train": False})
    assert isinstance(model, SRModel)
    model.feed_data({"lq": torch.rand(1, 3, 6, 10)})
    lq = model.lq
    with torch.no_grad():
        expected = []
        for turns in range(4):
            for mirrored in (False, True):
                turned = torch.rot90(lq, turns, (2, 3))
                turned = turned.flip(3) if mirrored else turned
                output = model.net_g.eval()(turned)
                output = output.flip(3) if mirrored else output
                expected.append(torch.rot90(output, -turns, (2, 3)))
    model.test_selfensemble()
    torch.testing.assert_close(model.output, torch.stack(expected).mean(0))
    assert model.lq is lq


def with_critic(objective: str, gan_type: str) -> dict[str, Any]:
    net = {"type": "MLPMixer", "img_size": 16, "patch_size": 8, "dim": 8, "depth": 1}
    criterion = {"type": "GANLoss", "gan_type": gan_type}
    critics = {"d": {"network": net, "optimizer": SGD}}
    return {**options(), "critics": critics, "objective": {"type": objective, "criterion": criterion}}


class OwnCriticsModel(SRModel):
    """Makes its critic by itself, as published code does."""

    def init_training_settings(self) -> None:
        self.net_d = self.add_network("d")
        self.cri_gan = GANLoss(self.options.objective.get("criterion").get("gan_type"))
        self.ema_decay = 0
        self.setup_optimizers()
        self.setup_schedulers()


@pytest.mark.parametrize("kind", [SRModel, OwnCriticsModel])
def test_critics_heed_whether_the_objective_lets_them_judge_jointly(kind: type[SRModel]) -> None:
    for objective, gan_type, expected in (("Standard", "vanilla", True), ("Wasserstein", "wgan", False)):
        model = kind(with_critic(objective, gan_type))
        assert [critic.judges_jointly for critic in model.critics] == [expected]


def test_a_pool_that_is_still_empty_is_used() -> None:
    model = build_model({**options(), "model_type": "RealESRNetModel", "gt_size": 16, "queue_size": 4})
    assert isinstance(model, RealESRNetModel)
    pool = model.pool
    assert pool is not None and len(pool) == 0
    model.lq, model.gt = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 16, 16)
    model._dequeue_and_enqueue()
    assert model.pool is pool and len(pool) == 2


class BrighterModel(SRModel):
    """Changes images that the package's own ``feed_data`` has made."""

    def feed_data(self, data: Any) -> None:
        super().feed_data(data)
        assert self.gt is not None
        self.gt = self.gt * 0.5


def test_a_class_that_changes_a_batch_trains_on_it_and_keeps_what_is_known_of_it() -> None:
    opt = options()
    model = BrighterModel({**opt, "degradation": {"type": "HardGated", "gt_size": 16, "queue_size": None}})
    gt = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    model.begin_iteration(1)
    model.feed_data({"gt": gt, "kernel": torch.full((2, 3, 3), 1 / 9), "gt_path": ["a.png", "b.png"]})
    (part,) = model.split_batch()
    assert torch.equal(part.gt, gt * 0.5)
    assert not part.lq_antialiased
    assert part.gt_path == ["a.png", "b.png"]


class NoTruthModel(SRModel):
    def feed_data(self, data: Any) -> None:
        self.lq = data["lq"]


def test_a_class_that_feeds_no_ground_truth_is_told_so() -> None:
    model = NoTruthModel(options())
    model.feed_data({"lq": torch.rand(1, 3, 8, 8)})
    with pytest.raises(ValueError, match="needs ground truth"):
        model.split_batch()
