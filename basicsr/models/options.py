"""Options that a model reads: what it is composed of and how it is trained."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, ClassVar, Literal, cast

import torch
from pydantic import AfterValidator, Field, PlainValidator, PrivateAttr, ValidationError
from pydantic.main import IncEx
from torch import nn
from typing_extensions import Self

from basicsr.adversarial.critic import CriticOptions
from basicsr.adversarial.diffaugment import parse_policy
from basicsr.adversarial.objective import Objective, normalize_weights
from basicsr.evaluation.val_options import ValOptions
from basicsr.models.presets import PRESETS, Preset, list_published_keys, translate
from basicsr.utils.errors import OptionsError, Problem, UserError
from basicsr.utils.fields import (
    Accepts,
    Count,
    Integer,
    PositiveInt,
    Section,
    Switch,
    Weight,
    drop_zero_fractions,
    join_path,
    list_problems,
    option,
)
from basicsr.utils.parts import Part, PartOf
from basicsr.utils.registry import (
    ARCH_REGISTRY,
    DEGRADATION_REGISTRY,
    LOSS_REGISTRY,
    OBJECTIVE_REGISTRY,
    OPTIMIZER_REGISTRY,
    SCHEDULER_REGISTRY,
    is_own,
)

DERIVED = "it is computed at the start"

DIGESTED = ("scale", "manual_seed", "network_g", "degradation", "losses", "objective", "critics", "train")
"""Options of a model that a training run's numbers depend on."""

PASSING = frozenset(r.name for r in (ARCH_REGISTRY, LOSS_REGISTRY, OPTIMIZER_REGISTRY, SCHEDULER_REGISTRY))
"""Kinds of part that a model of another package may build by itself, of types that it alone knows."""

Network = Annotated[Part, PartOf(ARCH_REGISTRY)]
Optimizer = Annotated[Part, PartOf(OPTIMIZER_REGISTRY, ("params",))]
Scheduler = Annotated[Part, PartOf(SCHEDULER_REGISTRY, ("optimizer",))]


def _check_num_gpu(value: Any) -> Any:
    if value == "auto" or (isinstance(value, int) and not isinstance(value, bool) and value >= 0):
        return value
    raise ValueError("expected auto, 0 (CPU) or the number of GPUs")


def _check_policy(value: str) -> str:
    parse_policy(value)
    return value


def _check_odd(value: int) -> int:
    if value % 2 == 0:
        raise ValueError(f"expected an odd number, got {value}")
    return value


class FlatRegions(Section):
    """Where an image counts as flat (BebyGAN, arXiv 2103.15295)."""

    ksize: Annotated[Integer, Field(ge=3, le=255), AfterValidator(_check_odd)] = 11
    """Window in pixels of the test, odd."""
    std: Weight = 0.025
    """Local deviation of the luma below which a region is flat."""


class PathOptions(Section):
    """Weights to start from and where results go."""

    also_known = list_published_keys("path")

    pretrain_network_g: str | None = None
    """Weights of the generator to start from, or to test: a file, or the name of published ones."""
    strict_load_g: bool = True
    """Whether names and shapes must all fit."""
    param_key_g: str | None = None
    """`params` or `params_ema` in the weights file; absent: `params` to train from, `params_ema` to test."""
    resume_state: str | None = None
    """A `training_states/*.state` file to go on from."""
    experiments_root: str | None = None
    """Parent folder of training runs; absent: `experiments`."""
    results_root: str | None = None
    """Parent folder of test results; absent: `results`."""
    ignore_resume_networks: list[str] | None = option(unused="a resumed run restores every network")
    """Carried by published files."""
    root: str | None = option(unused=DERIVED)
    """The project folder."""
    models: str | None = option(unused=DERIVED)
    """Where network weights are written."""
    training_states: str | None = option(unused=DERIVED)
    """Where checkpoints are written."""
    log: str | None = option(unused=DERIVED)
    """Where logs are written."""
    visualization: str | None = option(unused=DERIVED)
    """Where images are written."""


class TrainOptions(Section):
    """How the networks are trained."""

    also_known = list_published_keys("train")

    total_iter: PositiveInt | None = None
    """Number of iterations; required for training."""
    warmup_iter: Annotated[Integer, Field(ge=-1)] = -1
    """Iterations over which the learning rate rises linearly from 0; -1: none."""
    ema_decay: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Decay of the generator's running average, which validation and tests use; 0: off."""
    optim_g: Optimizer | None = None
    """Optimizer of the generator: `type` and its arguments."""
    scheduler: Scheduler | None = None
    """Learning-rate schedule of all optimizers: `type` and its arguments."""
    scheduler_g: Scheduler | None = None
    """Schedule of the generator's optimizer alone."""

    net_d_iters: PositiveInt = option(1, needs="critics")
    """The generator steps in every `net_d_iters`-th iteration; critics always do."""
    net_d_init_iters: Count = option(0, needs="critics")
    """The generator rests up to and including this iteration."""
    branch_pretrain: Switch = option(False, needs="branch")
    """Train the gradient branch alone at first (SPSR)."""
    branch_init_iters: Count = option(0, needs="branch")
    """Before this iteration only the gradient branch trains."""
    flat_regions: FlatRegions | None = option(needs="critics")
    """Hide flat regions from the critics (BebyGAN), with `ksize` and `std`; absent: show all."""
    diffaug: bool = option(False, needs="critics")
    """Augment what the critics see, differentiably (DiffAugment)."""
    aug_policy: Annotated[str, AfterValidator(_check_policy)] = option("color,translation,cutout", needs="diffaug")
    """Comma-separated augmentations."""

    clip_grad_norm: Weight = 0.0
    """Largest norm of each network's gradient; 0: no clipping."""
    accumulate_steps: PositiveInt = 1
    """Equal parts that a batch is split into to save memory."""
    activation_checkpointing: bool = False
    """Keep only the input of each repeated block of a network, and compute the rest again in the backward pass: less
    memory for one more forward pass, and the same bits."""
    precision: Literal["fp32", "tf32", "bf16", "fp16"] = "fp32"
    """Precision of the forward passes; `tf32`: of matrix products and convolutions, on GPUs that have it."""
    channels_last: Switch | None = None
    """Keep the weights of convolutions, and so their images, in the order of channels last; absent: on a CPU, for
    models and networks of this package."""
    compile: Annotated[Literal[False, "critics", "all", "auto"], Accepts("`false`, `critics`, `all`, `auto`")] = False
    """Networks that train compiled; `auto`: those that are measured to be faster; see `docs/train.md`."""
    cuda_graph: Switch = False
    """On a GPU, run each step as one CUDA graph where it can be; see `docs/train.md`."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """On a NaN or infinite loss: `stop` the run with a report, or `skip` the step (10 in a row stop it)."""
    rehearse: bool = True
    """Before a start, try one step and one validation on small batches, and refuse what has no effect; see
    `docs/train.md`."""
    adaptive_weight: bool | float | None = option(unused="no model type weights critics adaptively")
    """Carried by published files."""

    @property
    def autocast_dtype(self) -> torch.dtype | None:
        return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(self.precision)

    @property
    def augmentation(self) -> str:
        """Policy of the augmentation of what critics see; empty: none."""
        return self.aug_policy if self.diffaug else ""

    def trains_generator(self, current_iter: int) -> bool:
        return current_iter % self.net_d_iters == 0 and current_iter > self.net_d_init_iters

    def trains_branch_only(self, current_iter: int) -> bool:
        return self.branch_pretrain and current_iter < self.branch_init_iters


class ModelOptions(Section):
    """What a model reads of an option file, in today's form."""

    also_known: ClassVar[tuple[str, ...]] = list_published_keys("")

    name: str | None = None
    """Name of the run and of its folders. One that contains `debug` runs in debug mode."""
    model_type: str | None = None
    """Which recipe: a preset of the blocks below, or a model of another package; absent: `SRModel`."""
    scale: PositiveInt | None = None
    """Factor between GT and LQ sizes."""
    num_gpu: Annotated[Any, PlainValidator(_check_num_gpu), Accepts("auto or integer ≥ 0")] = "auto"
    """GPUs to use; `0`: the CPU; `auto`: those that are there."""
    manual_seed: Count = 0
    """Seed of everything random; the same seed gives the same run."""

    network_g: Network | None = None
    """The generator: `type` and the constructor's arguments."""
    degradation: Annotated[Part, PartOf(DEGRADATION_REGISTRY, ("scale",))] | None = None
    """How LQ is made of GT in the training step; absent: the data set has both."""
    losses: dict[str, Annotated[Part, PartOf(LOSS_REGISTRY)] | None] = Field(default_factory=dict)
    """`NAME: {type, …}`: content losses of the generator, logged as `l_g_NAME`."""
    objective: Annotated[Part, PartOf(OBJECTIVE_REGISTRY)] | None = None
    """The adversarial objective that joins generator and critics."""
    critics: dict[str, CriticOptions] = Field(default_factory=dict)
    """`NAME: {network, view, optimizer, weight, …}`: any number of critics."""
    path: PathOptions = Field(default_factory=PathOptions)
    """Weights and folders."""
    train: TrainOptions | None = None
    """Training."""
    val: ValOptions | None = None
    """Validation and testing."""
    dist_val: bool = True
    """Share the validation images among ranks."""
    find_unused_parameters: bool = False
    """For networks that do not use all parameters in every iteration."""

    _built: dict[str, nn.Module] = PrivateAttr(default_factory=dict)

    is_train: bool = option(False, unused=DERIVED)
    """Whether the file is trained."""
    dist: bool = option(False, unused=DERIVED)
    """Whether several processes train."""
    rank: int = option(0, unused=DERIVED)
    """Number of this process."""

    @classmethod
    def of(cls, opt: Mapping[str, Any], preset: Preset | None = None, *, is_ours: bool = True) -> ModelOptions:
        """The options of a run, validated before or, for a plain mapping in published or today's form, now.

        Args:
            opt: What :func:`basicsr.options.parse_options` gave, or a mapping, of which other keys are passed over.
            preset: What the model's class stands for; absent: what ``model_type`` does.
            is_ours: Whether the model is of this package; others may build parts whose types nobody has registered.

        Raises:
            OptionsError: With all mistakes.
        """
        typed = getattr(opt, "typed", None)
        if isinstance(typed, ModelOptions):
            return typed
        if preset is None:
            preset = PRESETS.get(str(opt.get("model_type")), {})
        found = translate(opt, preset, is_closed=False)
        known = {key: value for key, value in found.data.items() if key in ModelOptions.model_fields}
        context = {"is_open": True, "is_dropping": True, "passing": () if is_ours else PASSING}
        try:
            return ModelOptions.model_validate(drop_zero_fractions(known), context=context)
        except ValidationError as error:
            problems = [Problem(found.locate(join_path(*where)), text) for where, text, _ in list_problems(error)]
            raise OptionsError(problems, f"options of {opt.get('name') or opt.get('model_type')}") from None

    def without_pretrained(self) -> Self:
        """The options for a model whose weights come from a checkpoint."""
        path = self.path.model_copy(update={"pretrain_network_g": None})
        critics = {name: critic.model_copy(update={"pretrained": None}) for name, critic in self.critics.items()}
        return self.model_copy(update={"path": path, "critics": critics})

    def take_network(self, name: str) -> nn.Module:
        """The network ``g`` or that of a critic: the one that the option check has built, else a new one.

        Raises:
            UserError: If the options have no such network.
        """
        built = self._built.pop(name, None)
        if built is not None:
            return built
        critic = self.critics.get(name)
        part = self.network_g if name == "g" else critic.network if critic else None
        if part is None:
            raise UserError(f"the options have no network for net_{name}")
        return cast(nn.Module, part.build())

    @property
    def digest(self) -> str:
        """A short hash of the options that a training run's numbers depend on; see :data:`DIGESTED`."""
        text = json.dumps(self.numbers, sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()

    @property
    def numbers(self) -> dict[str, Any]:
        """What :meth:`describe_numbers` gives, in types that every file format has."""
        plain: dict[str, Any] = json.loads(json.dumps(self.describe_numbers(), default=str))
        return plain

    def describe_numbers(self) -> dict[str, Any]:
        """The options that the numbers depend on, as plain data: not where files are or how long training lasts."""
        # Files of earlier versions do not have these; off, they change nothing.
        off = {
            key
            for key in ("compile", "channels_last", "cuda_graph")
            if self.train is None or not getattr(self.train, key)
        }
        others: dict[str, IncEx] = {
            "train": {"total_iter", "on_nonfinite", "rehearse", "activation_checkpointing", *off},
            "critics": {"__all__": {"pretrained"}},
        }
        return self.model_dump(include=set(DIGESTED), exclude=others, exclude_none=True)

    # --- what the run has ---------------------------------------------------------------------------------------------

    @property
    def has_branch(self) -> bool:
        """Whether the generator has a gradient branch (SPSR)."""
        return self.network_g is not None and getattr(self.network_g.constructor, "has_gradient_branch", False)

    @property
    def critic_weights(self) -> dict[str, float]:
        """The critics' weights, divided by their sum where the objective does so.

        Raises:
            ValueError: If they are to be divided and are all 0.
        """
        weights = {name: critic.weight for name, critic in self.critics.items()}
        objective = self.objective.constructor if self.objective else Objective
        return normalize_weights(weights) if weights and getattr(objective, "normalizes_weights", True) else weights

    @property
    def pool_size(self) -> int:
        """Pairs in the pool that mixes degradations within a batch; 0: no pool, or every image draws for itself."""
        if self.degradation is None or self.degradation.get("gate") == "sample":
            return 0
        return self.degradation.get("queue_size") or 0

    def sharpens(self, what: str) -> bool:
        """Whether ``l1``, ``percep`` or ``gan`` losses see the sharpened ground truth (Real-ESRGAN)."""
        return self.degradation is not None and bool(self.degradation.get(f"{what}_gt_usm"))

    # --- what has to fit together -------------------------------------------------------------------------------------

    def find_conflicts(self, crop: int | None, batch: int | None, *, is_ours: bool = True) -> Iterator[Problem]:
        """What does not fit together, by its place in today's form.

        Args:
            crop: Side of the GT crop in training, in pixels; ``None`` if it is not known, or no multiple of the scale.
            batch: Images of a training batch.
            is_ours: Whether the model is of this package; what others need is not known.
        """
        network, train, kind = self.network_g, self.train, self.model_type or "training"
        # Where a network's scale is not one argument's, it is measured when the network has been built.
        is_measured = network is not None and getattr(network.constructor, "measures_scale", False)
        if network is not None and self.scale is not None and not is_measured:
            name = next((name for name in ("scale", "upscale") if network.takes(name)), None)
            value = network.get(name) if name else self.scale
            if isinstance(value, int) and value != self.scale:
                given = f"is {value}" if name in network.arguments else f"is {value} by default"
                message = f"{given}, but the file's scale is {self.scale}; set {name}: {self.scale}"
                yield Problem(f"network_g.{name}", message)
        if self.degradation is not None:
            yield from check_crop("degradation.gt_size", self.degradation.get("gt_size"), self.scale)
        if train is None or not self.is_train:
            return

        # The critic NAME is the model's attribute net_NAME.
        for name in self.critics.keys() & {"g", "g_ema", "d_iters", "d_init_iters"}:
            yield Problem(f"critics.{name}", f"net_{name} is an attribute of the model; choose another name")

        # Blocks that training cannot do without.
        if is_ours:
            needed: list[tuple[str, Section, tuple[str, ...]]] = [("train", train, ("optim_g", "scheduler"))]
            needed += [(f"critics.{name}", critic, ("network", "optimizer")) for name, critic in self.critics.items()]
            for path, section, keys in needed:
                for key in keys:
                    if getattr(section, key) is None:
                        yield Problem(f"{path}.{key}", f"missing; {kind} needs it")
            if self.critics and self.objective is None:
                yield Problem("objective", "missing; critics need one")
            elif self.objective is not None and not self.critics:
                yield Problem("objective", "has no critics to join; add critics or leave it out")
            if not self.critics and not any(self.losses.values()):
                yield Problem("losses.pix", f"missing; {kind} would have no loss to minimise")

        # What losses compare with, and how a batch is split.
        for name, loss in self.losses.items():
            if loss is not None and getattr(loss.constructor, "needs_ema", False) and not train.ema_decay:
                yield Problem("train.ema_decay", f"is off, but losses.{name} compares with the averaged generator")
            if loss is not None and getattr(loss.constructor, "needs_branch", False) and not self.has_branch:
                given = network.type if network else "none"
                yield Problem(f"losses.{name}", f"needs a generator with a gradient branch, not {given}")
        if batch and batch % train.accumulate_steps:
            message = f"{train.accumulate_steps} does not divide batch_size_per_gpu {batch}"
            yield Problem("train.accumulate_steps", message)
        if batch and self.pool_size % batch:
            near = max(batch, round(self.pool_size / batch) * batch)
            message = f"{self.pool_size} is not divisible by batch_size_per_gpu {batch}; {near} would be"
            yield Problem("degradation.queue_size", message)
        yield from self._check_critics(crop)

    def _check_critics(self, crop: int | None) -> Iterator[Problem]:
        """Compares critics with the objective, and the sizes that their networks are made for with what they see."""
        try:
            _ = self.critic_weights
        except ValueError as error:
            yield Problem(f"critics.{next(iter(self.critics))}.weight", f"{error}; set one above 0")
        criterion = self.objective.get("criterion") if self.objective else None
        if isinstance(criterion, Part) and self.objective is not None:
            accepted = getattr(self.objective.constructor, "gan_types", None)
            if is_own(criterion.constructor) and not criterion.takes("gan_type"):
                message = f"{criterion.type} does not score critics' logits; use GANLoss"
                yield Problem("objective.criterion.type", message)
            elif accepted and criterion.takes("gan_type") and criterion.get("gan_type") not in (None, *accepted):
                message = f"{criterion.get('gan_type')!r}, but the objective {self.objective.type} needs "
                yield Problem("objective.criterion.gan_type", f"{message}{' or '.join(accepted)}")
        for name, critic in self.critics.items():
            network = critic.network
            argument = next((key for key in ("img_size", "input_size") if network and network.takes(key)), None)
            if network is None or argument is None or crop is None:
                continue
            value = network.get(argument)
            sides = list(value) if isinstance(value, (list, tuple)) else [value]
            if not all(isinstance(side, int) for side in sides):
                continue
            seen = crop
            if critic.view is not None:
                try:
                    seen = critic.view.build()(torch.zeros(1, 3, crop, crop)).shape[-1]
                except (ValueError, RuntimeError, TypeError) as error:
                    yield Problem(f"critics.{name}.view", f"cannot be applied to a crop of {crop} pixels: {error}")
                    continue
            if set(sides) != {seen}:
                given = f"is {'x'.join(map(str, sides))}" + ("" if argument in network.arguments else " by default")
                why = f"gt_size is {crop}" + (f" and its view is {seen} pixels wide" if seen != crop else "")
                yield Problem(f"critics.{name}.network.{argument}", f"{given}, but {why}; set {argument}: {seen}")


def check_crop(path: str, size: Any, scale: int | None) -> Iterator[Problem]:
    """A training crop, whose side must be a multiple of the scale."""
    if isinstance(size, int) and scale and size % scale:
        near = max(1, round(size / scale)) * scale
        yield Problem(path, f"{size} is not divisible by scale {scale}; {near} would be")
