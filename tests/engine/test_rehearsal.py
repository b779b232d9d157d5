"""The rehearsal before a training: what it names, what it lets pass, and that it leaves everything as it was."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
import yaml
from tiny_run import write_images, write_options
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from basicsr.adversarial.standard import StandardObjective
from basicsr.data.loader import ImageLoader
from basicsr.engine.loaders import TrainingBatches, build_evaluation_loaders, build_training_batches
from basicsr.engine.rehearsal import rehearse
from basicsr.engine.rehearsal_images import find_smallest
from basicsr.engine.training import seed_networks
from basicsr.models import build_model
from basicsr.models.checkpoint import Position
from basicsr.models.sr_model import SRModel
from basicsr.models.srgan_model import SRGANModel
from basicsr.options import parse_options
from basicsr.train import main
from basicsr.utils.batch import to_floats
from basicsr.utils.errors import OptionsError, UserError, WeightsError
from basicsr.utils.frozen import FrozenOptions


@dataclass
class Stage:
    """A training that is built and has not begun."""

    opt: FrozenOptions
    batches: TrainingBatches
    val_loaders: list[ImageLoader]
    model: SRModel

    def rehearse(self) -> None:
        rehearse(self.opt, self.model, self.batches, self.val_loaders)

    def become(self, kind: type[SRModel]) -> None:
        """Gives the model methods of its own."""
        self.model.__class__ = kind


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_options(tmp_path_factory.mktemp("rehearsal"), val={"val_freq": 4, "metrics": {"psnr": PSNR}})


PSNR = {"type": "calculate_psnr", "crop_border": 4, "test_y_channel": True}


@pytest.fixture
def build(file: Path) -> Callable[..., Stage]:
    def build_stage(*changes: str) -> Stage:
        argv = ["-opt", str(file), *(["--force_yml", *changes] if changes else [])]
        opt, _ = parse_options(file.parent, is_train=True, argv=argv)
        seed_networks(opt)
        model = build_model(opt)
        assert isinstance(model, SRModel)
        return Stage(opt, build_training_batches(opt), build_evaluation_loaders(opt, "val"), model)

    return build_stage


SMALL_RRDB = "type: RRDBNet, num_feat: 4, num_block: 1, num_grow_ch: 4, num_in_ch: 3"
SMALL_SWIN = (
    "type: SwinTransformer, img_size: 32, patch_size: 8, embed_dim: 8, depths: [2], num_heads: [2], window_size: 2"
)

# --- what cannot work by the options ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (["network_g:num_in_ch=1"], "network_g: cannot take images of 2x3x8x8; set num_in_ch: 3"),
        ([f"network_g={{{SMALL_RRDB}, num_out_ch: 1}}"], "set num_out_ch: 3"),
        (["network_d:num_in_ch=4"], "network_d: cannot take images of 2x3x32x32; set num_in_ch: 3"),
        (["network_d={type: VggDiscriminatorYN, in_channels: 4}"], "of 2x3x32x32; set in_channels: 3"),
        ([f"network_d={{{SMALL_SWIN}, in_chans: 4}}"], "network_d: cannot take images of 2x3x32x32; set in_chans: 3"),
        (["datasets:train:gt_size=36"], "network_d: cannot take images of 2x3x36x36; change its arguments or gt_size"),
        (["network_d={type: VggDiscriminatorYN}", "datasets:train:gt_size=8"], "network_d: cannot take images of"),
        (["train:pixel_opt:loss_weight=0"], "train.pixel_opt: acts on nothing, as loss_weight is 0"),
        (["train:gan_opt:loss_weight=0"], "train.gan_opt.loss_weight: is 0, so that no critic moves the generator"),
    ],
)
def test_options_that_cannot_work_are_named(build: Callable[..., Stage], changes: list[str], says: str) -> None:
    with pytest.raises(OptionsError) as caught:
        build(*changes).rehearse()
    assert says in str(caught.value)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("train:optim_g:lr=-1", "train.optim_g.lr: expected a value greater than or equal to 0, got -1"),
        ("train:optim_g:betas=[9,9]", "train.optim_g.betas.0: expected a value less than 1, got 9"),
        ("train:optim_d:eps=-1", "train.optim_d.eps: expected a value greater than or equal to 0"),
        ("train:scheduler:gamma=-1", "train.scheduler.gamma: expected a value greater than or equal to 0"),
        ("train:flat_regions={ksize: 1.0e+30}", "train.flat_regions.ksize: expected a value less than or equal to 255"),
        ("train:flat_regions={ksize: 4}", "train.flat_regions.ksize: expected an odd number, got 4"),
    ],
)
def test_numbers_that_no_optimizer_or_window_can_have_are_refused(
    file: Path, capsys: pytest.CaptureFixture[str], change: str, says: str
) -> None:
    assert main(["-opt", str(file), "--check", "--force_yml", change], file.parent) == 2
    assert says in capsys.readouterr().err


# --- faults that are planted into the model ---------------------------------------------------------------------------


def plant_in(module: nn.Module, forward: Callable[..., Tensor]) -> None:
    """Lets a function of (the module, its own forward, images …) take the place of a module's forward."""
    kind = type(module)

    def planted(self: nn.Module, *images: Tensor) -> Tensor:
        return forward(self, lambda *given: kind.forward(self, *given), *images)

    module.__class__ = type(kind.__name__, (kind,), {"forward": planted})


def critic_detached_from_the_image(stage: Stage) -> None:
    plant_in(stage.model.net_d, lambda self, own, x: own(x.detach()))


def critic_detached_from_its_parameters(stage: Stage) -> None:
    plant_in(stage.model.net_d, lambda self, own, x: x)


def critic_with_constant_output(stage: Stage) -> None:
    plant_in(stage.model.net_d, lambda self, own, x: own(x) * 0 + 1)


def critic_without_trainable_parameters(stage: Stage) -> None:
    stage.model.net_d.requires_grad_(False)


def critic_that_is_not_finite(stage: Stage) -> None:
    plant_in(stage.model.net_d, lambda self, own, x: own(x) / 0)


class ToTheCritic(StandardObjective):
    def generator_terms(self, critics: Any, real: Tensor, fake: Tensor) -> dict[str, Tensor]:
        return super().generator_terms(critics, real, fake.detach())


def objective_that_reaches_the_critic_instead_of_the_generator(stage: Stage) -> None:
    stage.model.objective = ToTheCritic(stage.model.objective.gan)


class ToNobody(StandardObjective):
    def critic_terms(self, critic: Any, real: Tensor, fake: Tensor, generator: Any = None) -> Any:
        terms = super().critic_terms(critic, real, fake, generator)
        terms.losses = {name: term.detach() for name, term in terms.losses.items()}
        return terms


def objective_that_does_not_reach_the_critic(stage: Stage) -> None:
    stage.model.objective = ToNobody(stage.model.objective.gan)


def loss_that_is_constant(stage: Stage) -> None:
    plant_in(stage.model.content.losses["pix"], lambda self, own, sr, gt: own(sr, gt) * 0 + 1)


def loss_that_is_detached(stage: Stage) -> None:
    plant_in(stage.model.content.losses["pix"], lambda self, own, sr, gt: own(sr.detach(), gt))


def loss_of_lq_and_gt(stage: Stage) -> None:
    plant_in(stage.model.content.losses["pix"], lambda self, own, sr, gt: own(gt.flip(-1), gt))


def loss_that_is_not_finite(stage: Stage) -> None:
    plant_in(stage.model.content.losses["pix"], lambda self, own, sr, gt: own(sr, gt) * float("nan"))


def loss_with_an_infinite_slope(stage: Stage) -> None:
    plant_in(stage.model.content.losses["pix"], lambda self, own, sr, gt: own((sr - sr.detach()).abs().sqrt(), gt))


def loss_that_cannot_compare(stage: Stage) -> None:
    plant_in(stage.model.content.losses["pix"], lambda self, own, sr, gt: own(sr, gt[..., 1:]))


def generator_that_is_frozen(stage: Stage) -> None:
    stage.model.net_g.requires_grad_(False)


def generator_that_is_detached(stage: Stage) -> None:
    plant_in(stage.model.net_g, lambda self, own, x: own(x).detach() + 0 * next(self.parameters()).sum())


def generator_of_another_scale(stage: Stage) -> None:
    plant_in(stage.model.net_g, lambda self, own, x: own(x)[..., ::2, ::2])


def generator_that_is_not_finite(stage: Stage) -> None:
    plant_in(stage.model.net_g, lambda self, own, x: own(x) / 0)


def generator_that_validation_images_do_not_fit(stage: Stage) -> None:
    def forward(self: nn.Module, own: Any, x: Tensor) -> Tensor:
        assert x.shape[-1] % 8 == 0, "windows of 8"
        return own(x)

    plant_in(stage.model.net_g, forward)
    assert stage.model.average is not None
    plant_in(stage.model.average, forward)


def parameter_outside_every_optimizer(stage: Stage) -> None:
    stage.model.net_g.register_parameter("extra", nn.Parameter(torch.zeros(3)))
    stage.model.net_g_ema.register_parameter("extra", nn.Parameter(torch.zeros(3)))


def optimizer_of_other_parameters(stage: Stage) -> None:
    stage.model.optimizer_g.param_groups[0]["params"] = [nn.Parameter(torch.zeros(3))]


def average_with_a_decay_of_one(stage: Stage) -> None:
    stage.model.ema_decay = 1.0


def images_in_0_to_255(stage: Stage) -> None:
    alter_batches(stage, lambda name, images: images * 255)


def images_divided_twice(stage: Stage) -> None:
    alter_batches(stage, lambda name, images: images / 255)


def ground_truth_in_0_to_255(stage: Stage) -> None:
    alter_batches(stage, lambda name, images: images * 255 if name == "gt" else images)


def images_that_are_not_finite(stage: Stage) -> None:
    alter_batches(stage, lambda name, images: images / images.new_zeros(()))


def alter_batches(stage: Stage, change: Callable[[str, Tensor], Tensor]) -> None:
    collate = stage.batches.loader.collate_fn

    def altered(samples: Any) -> Any:
        batch = collate(samples)
        return {**batch, **{name: change(name, to_floats(batch[name])) for name in ("lq", "gt")}}

    stage.batches.loader.collate_fn = altered


def lq_and_gt_swapped(stage: Stage) -> None:
    collate = stage.batches.loader.collate_fn
    stage.batches.loader.collate_fn = lambda samples: (lambda b: {**b, "lq": b["gt"], "gt": b["lq"]})(collate(samples))


@pytest.mark.parametrize(
    ("plant", "says"),
    [
        (critic_detached_from_the_image, "network_d: judges nothing: the gradient of its logits by the images does"),
        (critic_detached_from_its_parameters, "network_d: judges nothing: the gradient of its logits by the param"),
        (critic_with_constant_output, "network_d: judges nothing: the gradient of its logits by the images is zero"),
        (critic_without_trainable_parameters, "network_d: has nothing to train"),
        (critic_that_is_not_finite, "network_d: its first logits are not finite"),
        (objective_that_reaches_the_critic_instead_of_the_generator, "critics.d: does not move the generator"),
        (objective_that_does_not_reach_the_critic, "critics.d: does not learn: the gradient of its own loss"),
        (loss_that_is_constant, "train.pixel_opt: acts on nothing: the gradient of the loss by the"),
        (loss_that_is_detached, "train.pixel_opt: acts on nothing"),
        (loss_of_lq_and_gt, "train.pixel_opt: acts on nothing"),
        (loss_that_is_not_finite, "train.pixel_opt: is not finite"),
        (loss_with_an_infinite_slope, "train.pixel_opt: acts on nothing: the gradient of the loss by the generator's"),
        (loss_that_cannot_compare, "train.pixel_opt: cannot take images of 2x3x32x32"),
        (generator_that_is_frozen, "network_g: cannot learn"),
        (generator_that_is_detached, "network_g: cannot learn: the gradient of its images by its parameters is zero"),
        (generator_of_another_scale, "network_g: makes images of 3x16x16 of an LQ of 3x8x8, but GT has 3x32x32"),
        (generator_that_is_not_finite, "network_g: its first images are not finite"),
        (generator_that_validation_images_do_not_fit, "network_g: validation of the smallest image of tiny_val fails"),
        (parameter_outside_every_optimizer, "network_g: no optimizer has extra"),
        (optimizer_of_other_parameters, "network_g: no optimizer has conv_first.weight"),
        (average_with_a_decay_of_one, "train.ema_decay: the generator's average does not move"),
        (images_in_0_to_255, "datasets.train: lq has values from"),
        (images_divided_twice, "not divided by 255 twice"),
        (ground_truth_in_0_to_255, "datasets.train: gt has values"),
        (images_that_are_not_finite, "datasets.train: lq has values that are not finite"),
        (lq_and_gt_swapped, "LQ and GT are swapped"),
    ],
)  # fmt: skip
def test_planted_faults_are_named(build: Callable[..., Stage], plant: Callable[[Stage], None], says: str) -> None:
    stage = build()
    plant(stage)
    with pytest.raises(OptionsError) as caught:
        stage.rehearse()
    assert says in str(caught.value)
    assert len(caught.value.problems) < 3


def test_weights_that_are_not_finite_are_named(build: Callable[..., Stage]) -> None:
    stage = build()
    with torch.no_grad():
        stage.model.net_g.conv_last.weight[0, 0] = float("nan")  # type: ignore[union-attr,index,operator]
    with pytest.raises(WeightsError, match=r"net_g begins with weights that are not finite: conv_last\.weight"):
        stage.rehearse()


# --- steps of other people --------------------------------------------------------------------------------------------


class OwnStep(SRGANModel):
    """A step as published code writes it."""

    steps_critic, averages, moves = True, True, True

    def optimize_parameters(self, current_iter: int) -> None:
        self.optimizer_g.zero_grad()
        self.output = self.net_g(self.lq)
        loss = self.cri_pix(self.output, self.gt)
        if current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters:
            loss = loss + self.cri_gan(self.net_d(self.output), True, is_disc=False)
            (loss if self.moves else loss * 0).backward()
            self.optimizer_g.step()
        self.optimizer_d.zero_grad()
        critic_loss = self.cri_gan(self.net_d(self.gt), True, is_disc=True)
        critic_loss = critic_loss + self.cri_gan(self.net_d(self.output.detach()), False, is_disc=True)
        critic_loss.backward()
        if self.steps_critic:
            self.optimizer_d.step()
        self.log_dict = self.reduce_loss_dict({"l_g": loss, "l_d": critic_loss})
        if self.averages:
            self.model_ema(decay=self.ema_decay)


class ForgetsTheCritic(OwnStep):
    steps_critic = False


class ForgetsTheAverage(OwnStep):
    averages = False


class MovesNothing(OwnStep):
    moves = False


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (OwnStep, ""),
        (ForgetsTheCritic, "network_d: its optimizer made no step"),
        (ForgetsTheAverage, "train.ema_decay: the generator's average does not move"),
        (MovesNothing, "network_g: every gradient is zero or missing"),
    ],
)
def test_what_looks_wrong_in_an_own_step_is_a_warning(
    build: Callable[..., Stage], caplog: pytest.LogCaptureFixture, kind: type[SRModel], says: str
) -> None:
    stage = build("train:net_d_init_iters=500", "train:net_d_iters=3")
    stage.become(kind)
    with caplog.at_level(logging.WARNING):
        stage.rehearse()
    warnings = [record.getMessage() for record in caplog.records if "Rehearsal" in record.getMessage()]
    assert len(warnings) == bool(says)
    assert says in "".join(warnings)


def test_a_crash_of_an_own_step_is_named(build: Callable[..., Stage]) -> None:
    class Crashes(OwnStep):
        def optimize_parameters(self, current_iter: int) -> None:
            raise RuntimeError("stack expects each tensor to be equal size")

    stage = build()
    stage.become(Crashes)
    with pytest.raises(OptionsError, match=r"the step fails at test_rehearsal.py:\d+: RuntimeError: stack expects"):
        stage.rehearse()


def test_a_model_that_cannot_be_copied_is_not_rehearsed(build: Callable[..., Stage]) -> None:
    stage = build()
    stage.model.handle = open(__file__)  # type: ignore[attr-defined] # noqa: SIM115
    with stage.model.handle:  # type: ignore[attr-defined]
        stage.rehearse()


# --- what is no mistake -----------------------------------------------------------------------------------------------


def nothing(stage: Stage) -> None:
    pass


def part_of_the_generator_is_frozen(stage: Stage) -> None:
    stage.model.net_g.conv_first.requires_grad_(False)  # type: ignore[union-attr,operator]


def last_layers_begin_at_zero(stage: Stage) -> None:
    for layer in (stage.model.net_g.conv_last, stage.model.net_d.conv9):  # type: ignore[union-attr]
        for parameter in layer.parameters():  # type: ignore[union-attr]
            nn.init.zeros_(parameter)


def critic_is_sure_of_itself(stage: Stage) -> None:
    plant_in(stage.model.net_d, lambda self, own, x: own(x) + (1e3 if x.requires_grad else -1e3))
    stage.model.objective.gan.gan_type = "hinge"  # type: ignore[union-attr]


def output_is_perfect(stage: Stage) -> None:
    # LQ that is enlarged to GT exactly, with nothing added: the loss and its gradient are 0.
    last_layers_begin_at_zero(stage)
    alter_batches(stage, lambda name, images: torch.full_like(images, 0.5))


@pytest.mark.parametrize(
    ("arrange", "changes"),
    [
        (nothing, []),
        (nothing, ["train:precision=bf16"]),
        (nothing, ["train:precision=fp16"]),
        (nothing, ["train:net_d_iters=3", "train:net_d_init_iters=1000"]),
        (nothing, ["datasets:train:batch_size_per_gpu=4", "train:accumulate_steps=2"]),
        (nothing, ["train:gan_opt:gan_type=wgan", "objective={type: Wasserstein}"]),
        (nothing, ["val:spectra=true"]),
        (nothing, ["network_d={type: VggDiscriminatorYN}"]),
        (part_of_the_generator_is_frozen, []),
        (last_layers_begin_at_zero, []),
        (critic_is_sure_of_itself, []),
        (output_is_perfect, []),
    ],
)  # fmt: skip
def test_what_is_no_mistake_passes(
    build: Callable[..., Stage],
    caplog: pytest.LogCaptureFixture,
    arrange: Callable[[Stage], None],
    changes: list[str],
) -> None:
    stage = build(*changes)
    arrange(stage)
    with caplog.at_level(logging.WARNING):
        stage.rehearse()
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.slow
def test_a_critic_without_weight_beside_others_looks_on(file: Path, tmp_path: Path) -> None:
    options = yaml.safe_load(file.read_text())
    optimizer, network = options["train"].pop("optim_d"), options.pop("network_d")
    critics = {
        name: {"network": network, "optimizer": optimizer, "weight": w} for name, w in (("d", 1), ("other_d", 0))
    }
    options |= {"critics": critics, "objective": {"type": "Standard", "criterion": options["train"].pop("gan_opt")}}
    del options["model_type"]
    changed = tmp_path / "two.yml"
    changed.write_text(yaml.safe_dump(options))
    assert main(["-opt", str(changed), "--check"], tmp_path) == 0


# --- nothing is left behind -------------------------------------------------------------------------------------------


def take_state(stage: Stage) -> dict[str, Any]:
    model = stage.model
    tensors = [*model.networks().values(), model.net_g_ema]
    return {
        "networks": [{key: value.clone() for key, value in net.state_dict().items()} for net in tensors],
        "gradients": [parameter.grad for net in tensors for parameter in net.parameters()],
        "training": [module.training for net in tensors for module in net.modules()],
        "hooks": [
            len(module._forward_hooks) + len(module._forward_pre_hooks) for net in tensors for module in net.modules()
        ],
        "optimizers": [optimizer.state_dict() for optimizer in model.optimizers],
        "schedulers": [scheduler.state_dict() for scheduler in model.schedulers],
        "pool": None if model.pool is None else model.pool.state_dict(),
        "attributes": sorted(vars(model)),
        "best": dict(model.best_metric_results),
        "step random": model.step_random.get_state(),
        "torch": torch.get_rng_state(),
        "numpy": np.random.get_state()[1],  # noqa: NPY002
        "python": random.getstate(),
        "sampler": (stage.batches.sampler.epoch, stage.batches.sampler.start),
        "failed": [len(loader.failures) for loader in (stage.batches.loader, *stage.val_loaders)],
    }


def assert_equal(before: Any, after: Any, place: str = "") -> None:
    if isinstance(before, dict):
        assert before.keys() == after.keys(), place
        for key in before:
            assert_equal(before[key], after[key], f"{place}.{key}")
    elif isinstance(before, (list, tuple)):
        assert len(before) == len(after), place
        for index, (former, latter) in enumerate(zip(before, after, strict=True)):
            assert_equal(former, latter, f"{place}.{index}")
    elif isinstance(before, (Tensor, np.ndarray)):
        assert bool((before == after).all()), place
    else:
        assert before == after, place


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_everything_is_as_before(build: Callable[..., Stage], precision: str) -> None:
    stage = build(f"train:precision={precision}")
    norm = nn.BatchNorm2d(4, affine=False)
    stage.model.net_d.conv9 = nn.Sequential(norm, stage.model.net_d.conv9)  # type: ignore[arg-type]
    for iteration, (_, batch) in zip((1, 2), stage.batches.stream(Position())):
        stage.model.begin_iteration(iteration)
        stage.model.feed_data(batch)
        stage.model.optimize_parameters(iteration)
    stage.model.net_d.zero_grad(set_to_none=True)
    stage.model.net_g.zero_grad(set_to_none=True)
    before = take_state(stage)
    stage.rehearse()
    assert_equal(before, take_state(stage))


def test_a_training_has_the_same_bits_with_and_without(tmp_path: Path) -> None:
    changes = {"logger": {"save_checkpoint_freq": 100}}
    states = []
    for rehearses in ("true", "false"):
        file = write_options(tmp_path / rehearses, val={"val_freq": 2}, **changes)
        forced = [f"train:rehearse={rehearses}", "train:total_iter=2", "datasets:train:num_worker_per_gpu=1"]
        assert main(["-opt", str(file), "--force_yml", *forced], tmp_path / rehearses) == 0
        path = tmp_path / rehearses / "experiments/tiny/training_states/2.state"
        states.append(torch.load(path, weights_only=True))
    assert_equal(states[0]["model"], states[1]["model"])
    assert states[0]["options_digest"] == states[1]["options_digest"]


def test_a_fault_leaves_an_earlier_run_in_its_place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_options(tmp_path)
    earlier = tmp_path / "experiments/tiny/models"
    earlier.mkdir(parents=True)
    assert main(["-opt", str(file), "--force_yml", "network_g:num_in_ch=1"], tmp_path) == 2
    assert earlier.is_dir()
    assert "Traceback" not in capsys.readouterr().err


def test_the_smallest_validation_image_is_taken(build: Callable[..., Stage], tmp_path: Path) -> None:
    write_images(tmp_path, 2, 48)
    write_images(tmp_path / "small", 1, 32)
    for part in ("HR", "LR"):
        (tmp_path / f"small/{part}/00.png").rename(tmp_path / f"{part}/small.png")
    roots = [f"datasets:val:dataroot_{kind}={tmp_path / part}" for kind, part in (("gt", "HR"), ("lq", "LR"))]
    dataset = build(*roots).val_loaders[0].dataset
    assert dataset.paths[find_smallest(dataset)]["lq_path"].endswith("small.png")  # type: ignore[attr-defined]


@pytest.fixture
def group(tmp_path: Path) -> Iterator[None]:
    dist.init_process_group("gloo", init_method=f"file://{tmp_path / 'group'}", rank=0, world_size=1)
    yield
    dist.destroy_process_group()


@pytest.mark.usefixtures("group")
def test_parameters_without_gradient_that_other_processes_would_wait_for_are_named(build: Callable[..., Stage]) -> None:
    stage = build()
    stage.model.net_g = DistributedDataParallel(stage.model.net_g)
    stage.rehearse()
    plant_in(stage.model.net_d, lambda self, own, x: nn.functional.conv2d(x, self.conv0.weight, padding=1))  # type: ignore[union-attr,arg-type]
    stage.model.critics[0].net = stage.model.net_d = DistributedDataParallel(stage.model.net_d)
    with pytest.raises(OptionsError, match=r"and \d+ more take no part in the step.*find_unused_parameters: true"):
        stage.rehearse()
    stage.model.net_d.find_unused_parameters = True
    stage.rehearse()


def test_errors_of_a_validation_keep_their_kind(build: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch) -> None:
    stage = build()

    def fail(self: Any) -> Any:
        raise UserError("no such weights")

    monkeypatch.setattr(SRModel, "evaluator", fail)
    with pytest.raises(UserError, match="no such weights"):
        stage.rehearse()
