"""The training step, written once for every composition of generator, losses, critics and degradation."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from basicsr.adversarial import Critic, CriticTerms, DiffAugment, Objective
from basicsr.degradation import PairPool
from basicsr.evaluation.critic_accuracy import CriticPanel
from basicsr.evaluation.spectra import FILE, SpectraMonitor, training_size
from basicsr.evaluation.tiler import Tiler
from basicsr.evaluation.validation import Evaluator
from basicsr.losses.content import ArtifactLoss, ContentLosses, build_content_losses
from basicsr.models.base_model import BaseModel, restoring
from basicsr.models.compile_choice import Passes, choose_networks
from basicsr.models.nonfinite import NonfiniteGuard
from basicsr.models.presets import PRESETS, Preset
from basicsr.processing.filters import USMSharp, get_flat_mask
from basicsr.utils.batch import Batch, image_of, to_floats
from basicsr.utils.dist_util import bare
from basicsr.utils.placement import place
from basicsr.utils.registry import MODEL_REGISTRY

_ONE_IMAGE = (
    "feed_data",
    "test",
    "predict",
    "generating",
    "get_current_visuals",
    "validation",
    "dist_validation",
    "nondist_validation",
)
"""Methods that published classes write for batches of one image when they validate."""


@MODEL_REGISTRY.register()
class SRModel(BaseModel):
    """Generator, content losses, critics and degradation, composed as the options say.

    An iteration has every critic judge GT and the generator's images, steps the generator and then every critic by what
    they say, and moves the average of the generator. ``train.accumulate_steps`` splits the batch; each part is scored
    by itself.
    """

    preset: ClassVar[Preset] = PRESETS["SRModel"]

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__(opt)
        path = self.options.path
        self.net_g = self.add_network("g", path.pretrain_network_g, path.strict_load_g, path.param_key_g)
        self.batch: Batch | None = None
        self.batch_info: dict[str, list[str]] = {}
        self.gt_usm: Tensor | None = None
        self.critics: list[Critic] = []
        self.pool: PairPool | None = None
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.settings.precision == "fp16")
        self.guard = NonfiniteGuard(self.settings.on_nonfinite)
        if self.is_train:
            self.init_training_settings()
            self.join_parts()

    def init_training_settings(self) -> None:
        """Builds all that only training needs."""
        options, settings = self.options, self.settings
        self.net_g.train()
        self.ema_decay = settings.ema_decay
        if self.ema_decay > 0:
            self.net_g_ema = copy.deepcopy(bare(self.net_g)).eval().requires_grad_(False)
        content = build_content_losses(options.losses, prefix="l_g_" if options.critics else "l_")
        self.content = place(content, self.device, channels_last=bool(self.channels_last))
        self.build_degradation()
        weights = options.critic_weights
        for name, entry in options.critics.items():
            # Saved and resumed under this name.
            net = self.add_network(name, entry.pretrained, entry.strict_load, entry.param_key).train()
            view, is_only = entry.view.build() if entry.view else None, len(options.critics) == 1
            self.critics.append(Critic(name, net, weights[name], view, is_only=is_only))
        if options.objective is not None:
            self.objective: Objective = options.objective.build()

        # By these names published subclasses reach the parts in steps of their own.
        losses = dict(self.content.losses.items())
        self.cri_pix, self.cri_perceptual = losses.get("pix"), losses.get("percep")
        self.cri_ldl = getattr(losses.get("ldl"), "criterion", None)
        self.cri_gan = self.objective.gan if options.objective else None
        self.net_d_iters, self.net_d_init_iters = settings.net_d_iters, settings.net_d_init_iters

        self.setup_optimizers()
        self.setup_schedulers()

    def join_parts(self) -> None:
        """Joins networks, losses and optimizers to what the step works on.

        A class's own ``init_training_settings`` may have made no more of them than attributes with published names.
        """
        options = self.options
        built = {name: net for name, net in self.nets.items() if name in options.critics}
        if not self.critics:
            is_only = len(built) == 1
            self.critics = [Critic(n, net, options.critic_weights[n], is_only=is_only) for n, net in built.items()]
        for critic in self.critics:
            critic.optimizer = getattr(self, f"optimizer_{critic.name}", None)
        given = vars(self)
        if options.objective is not None and "objective" not in given and given.get("cri_gan") is not None:
            self.objective = cast(Objective, options.objective.constructor(criterion=self.cri_gan))
        if "objective" in given:
            for critic in self.critics:
                critic.may_join = self.objective.may_join
        if "content" not in given:
            losses = {"pix": given.get("cri_pix"), "percep": given.get("cri_perceptual")}
            if isinstance(given.get("cri_ldl"), nn.Module):
                losses["ldl"] = ArtifactLoss(given["cri_ldl"])
            prefix = "l_g_" if self.critics else "l_"
            self.content = ContentLosses({n: loss for n, loss in losses.items() if isinstance(loss, nn.Module)}, prefix)
        if "degradation" not in given:
            self.build_degradation()

    def build_degradation(self) -> None:
        """Builds what makes LQ of GT, and the pool of pairs, where the options have them."""
        options = self.options
        self.degradation = options.degradation.build(scale=options.scale) if options.degradation else None
        self.pool = PairPool(options.pool_size) if options.pool_size else None

    def setup_optimizers(self) -> None:
        """One optimizer for the generator and one per critic."""
        self.optimizer_g = self.add_optimizer("g", self.settings.optim_g)
        for name in self.nets:
            if name in self.options.critics:
                self.add_optimizer(name, self.options.critics[name].optimizer)

    # --- data -----------------------------------------------------------------------------------------------------

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Takes a batch from a loader: GT images that the degradation turns into pairs, or pairs.

        Pairs have ``lq`` and ``gt``, and may have ``gt_usm``, the sharpened GT, which Real-ESRGAN makes otherwise.
        Images are in [0, 1], or of uint8 or uint16, which become floats here.
        """
        moved = {k: v.to(self.device, non_blocking=True) for k, v in data.items() if isinstance(v, Tensor)}
        moved |= {key: to_floats(moved[key]) for key in ("lq", "gt") if key in moved}
        self.batch_info = {key: list(data[key]) for key in ("gt_path", "lq_path") if key in data}
        self.batch = None
        if "lq" not in data and self.is_train:
            self.batch = self.degrade(moved, data.get("gt_path"))
            self.batch_info = {} if self.batch.gt_path is None else {"gt_path": list(self.batch.gt_path)}
        elif "gt" in moved:
            gt_usm = moved.get("gt_usm")
            if gt_usm is None and self.is_train:
                gt_usm = self.sharpen_pairs(moved["gt"])
            self.batch = Batch(moved["gt"], moved["lq"], gt_usm, lq_antialiased=self.options.degradation is None)
        self.lq = moved["lq"] if self.batch is None else self.batch.require("lq", "the model")
        if self.batch is not None:
            self.gt = self.batch.gt
        else:
            vars(self).pop("gt", None)  # published code asks whether there is one by hasattr
        self.gt_usm = None if self.batch is None else self.batch.gt_usm

    @classmethod
    def takes_levels(cls) -> bool:
        return cls.feed_data is SRModel.feed_data

    def degrade(self, batch: Mapping[str, Tensor], gt_path: Sequence[str] | None) -> Batch:
        """Makes pairs of GT images of the files ``gt_path``; with a pool, of this batch and earlier ones."""
        if self.degradation is None:
            raise ValueError("the training batch has no 'lq' images, and this model_type does not make them")
        pair = replace(self.degradation(batch, self.step_random), gt_path=gt_path, lq_antialiased=False)
        if self.pool is None:
            return pair
        self.step_gate.wait_for_pool()
        return self.pool.exchange(pair, self.step_random)

    def sharpen_pairs(self, gt: Tensor) -> Tensor | None:
        """Sharpened GT of pairs that come ready-made; ``None`` for compositions that train on GT as it is.

        Real-ESRGAN sharpens GT of such pairs too, Real-ESRNet only that which it degrades.
        """
        degradation = self.options.degradation
        if degradation is None or not degradation.takes("gan_gt_usm") or not self.options.critics:
            return None
        return USMSharp().to(gt)(gt)

    def split_batch(self) -> list[Batch]:
        """The batch in ``train.accumulate_steps`` parts, with what each side of the step compares with."""
        batch, gt = self.batch, getattr(self, "gt", None)
        if type(self).feed_data is not SRModel.feed_data and gt is not None:
            # A feed_data of other people sets these attributes, or changes what ours has made of the batch.
            batch = replace(batch or Batch(gt), gt=gt, lq=self.lq, gt_usm=self.gt_usm)
        if batch is None:
            raise ValueError("training needs ground truth, but the batch has no 'gt' images")
        sharp = batch.gt if batch.gt_usm is None else batch.gt_usm
        # Critics, pixel losses and perceptual losses: the sharpened images, or the images as they are.
        gt, gt_pixel, gt_perceptual = (
            sharp if self.options.sharpens(side) else batch.gt for side in ("gan", "l1", "percep")
        )
        detail_mask = self.find_detail(self.lq)
        step = replace(batch, gt=gt, gt_pixel=gt_pixel, gt_perceptual=gt_perceptual, detail_mask=detail_mask)
        return step.chunk(self.settings.accumulate_steps)

    def find_detail(self, lq: Tensor) -> Tensor | None:
        """Where images are not flat, (B, 1, H, W); ``None`` for compositions that hide nothing."""
        flat = self.settings.flat_regions
        return None if flat is None else 1 - get_flat_mask(lq, flat.ksize, flat.std, self.options.scale or 1)

    def critic_images(self, part: Batch) -> tuple[Tensor, Tensor]:
        """What the critics see of one part, (real, generated): masked and augmented as the options say."""
        real, fake = part.judged_images()
        if policy := self.settings.augmentation:
            real, fake = (DiffAugment(images, policy, self.step_random) for images in (real, fake))
        return real, fake

    def validation_images(self, lq: Tensor, gt: Tensor, sr: Tensor) -> tuple[Tensor, Tensor]:
        """What the critics see of validation images: as :meth:`critic_images`, but not augmented."""
        sharp = self.sharpen_pairs(gt) if self.options.sharpens("gan") else None
        return Batch(gt if sharp is None else sharp, lq, sr=sr, detail_mask=self.find_detail(lq)).judged_images()

    # --- the step -------------------------------------------------------------------------------------------------

    def optimize_parameters(self, current_iter: int) -> None:
        """One iteration on the batch that :meth:`feed_data` took."""
        parts, inputs = self.split_batch(), self.describe_inputs()
        if self.compilation.is_open:
            self.choose_compiled(parts[0], current_iter)
        # Loops of other packages begin no iteration.
        self.compilation.begin(self.nets, self.device)
        self.graphs.begin(self)
        trains_generator = not self.critics or self.settings.trains_generator(current_iter)
        trains_branch = self.options.has_branch and self.settings.trains_branch_only(current_iter)
        way = trains_generator, trains_branch, self.ema_decay
        self.output, self.log_dict = self.graphs.run(self, parts, way)
        self.guard.watch(current_iter, self.log_dict, inputs)

    def take_step(
        self, parts: list[Batch], trains_generator: bool, trains_branch: bool, ema_decay: float
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The iteration's work on the device, which may be captured as a graph: nothing is drawn or read by the host.

        Args:
            parts: Equal parts of the batch, with what each side compares with.
            trains_generator: Whether the generator steps.
            trains_branch: Whether its gradient branch alone does.
            ema_decay: Of the generator's average; 0: there is none.

        Returns:
            The generated images, and the losses and logits.
        """
        self._has_stepped = False
        for net in (self.net_g, *(critic.net for critic in self.critics)):
            net.zero_grad(set_to_none=True)

        # Each part of the batch is judged once: its logits tell the generator and the critics what to learn.
        generator_logs: list[dict[str, Tensor]] = []
        critic_logs: dict[str, list[dict[str, Tensor]]] = {critic.name: [] for critic in self.critics}
        for part in parts:
            with self.gradients_synced(part is parts[-1]):
                with self.autocast(), torch.set_grad_enabled(trains_generator):
                    part.take_output(self.net_g(part.lq))
                    real, fake = self.critic_images(part)
                judged = fake.detach().requires_grad_(trains_generator)
                if trains_generator:
                    generator_logs.append(self.teach_generator(part, real, fake, judged, len(parts)))
                part.detach()
                for critic in self.critics:
                    critic_logs[critic.name].append(self.teach_critic(critic, real, judged, len(parts)))

        # Step the networks, in this order, once a checkpoint that is being written has its copy of them.
        self.step_gate.wait()
        logs: dict[str, Tensor] = {}
        if trains_generator:
            if trains_branch:
                for name, parameter in self.net_g.named_parameters():
                    if "f_" not in name:
                        parameter.grad = None
            logs |= self.apply(self.optimizer_g, self.net_g, generator_logs)
        for critic in self.critics:
            assert critic.optimizer is not None  # setup_optimizers gave it one
            logs |= self.apply(critic.optimizer, critic.net, critic_logs[critic.name])
        # The scale follows from gradients; where every step was dropped there were none that tell anything.
        if self._has_stepped:
            self.scaler.update()

        # Move the average, in iterations without a generator step too, as published.
        if ema_decay > 0:
            self.model_ema(decay=ema_decay)
        return torch.cat([part.require("sr", "the step") for part in parts]), logs

    def choose_compiled(self, part: Batch, current_iter: int) -> None:
        """Measures which networks are worth compiling, by one part of a batch (``train.compile: auto``)."""
        lq = part.require("lq", "the step")

        def restore(net: nn.Module) -> None:
            with self.autocast():
                image = image_of(net(lq))
            image.float().sum().backward()

        passes: dict[str, Passes] = {"g": restore}
        passes |= {critic.name: partial(self._judge_and_teach, critic, part.gt) for critic in self.critics}
        left = (self.settings.total_iter or current_iter) - current_iter
        self.compilation.chosen = choose_networks(self.nets, passes, lq, left, self.options.digest)

    def _judge_and_teach(self, critic: Critic, images: Tensor, net: nn.Module) -> None:
        """A step's passes of a critic, with ``net`` in place of its network."""
        one, fake = replace(critic, net=net), images.detach().clone().requires_grad_()
        with self.autocast():
            _, logits = one.judge_for_generator(images, fake, needs_real=True)
        torch.autograd.grad(logits.sum(), fake, retain_graph=True)
        with self.autocast():
            real, generated = one.judge(images, fake)
        (real.sum() + generated.sum()).backward(inputs=one.parameters)

    def describe_inputs(self) -> dict[str, Any]:
        """What the step's losses depend on beside the weights: images, their files, and the state of random draws."""
        images = {"lq": self.lq, "gt": self.gt} | ({} if self.gt_usm is None else {"gt_usm": self.gt_usm})
        return {**images, **self.batch_info, "generator": self.step_random.get_state()}

    def teach_generator(
        self, part: Batch, real: Tensor, fake: Tensor, judged: Tensor, num_parts: int
    ) -> dict[str, Tensor]:
        """Back-propagates the generator's content and adversarial terms on one part of the batch; returns its logs.

        Args:
            part: Images, with the generator's output.
            real: What the critics see of GT, (B, C, H, W).
            fake: What they see of the output, with its graph.
            judged: The same as a leaf that requires a gradient: the critics' graphs begin there.
            num_parts: Equal parts of the batch.
        """
        with self.autocast():
            if self.content.needs_ema and self.average is not None:
                with torch.no_grad():
                    part.ema_sr = image_of(self.average(part.lq)).float()
            terms = dict(self.content(part))
            adversarial = self.objective.generator_terms(self.critics, real, judged) if self.critics else {}

        # The critics' graphs are kept for their own turn; they tell the generator how its image should change.
        roots: list[Tensor] = [self.total_of(terms, num_parts)] if terms else []
        slopes: list[Tensor | None] = [None] * len(roots)
        if adversarial:
            slopes += torch.autograd.grad(self.total_of(adversarial, num_parts), judged, retain_graph=True)
            roots.append(fake)
        torch.autograd.backward(roots, slopes)

        # Log the terms with the sum over critics, or the total where there are none.
        log = {name: term.detach() for name, term in (terms | adversarial).items()}
        if len(adversarial) > 1:
            log["l_g_gan"] = torch.stack([log[name] for name in adversarial]).sum()
        if not self.critics:
            log["l_total"] = torch.stack(list(log.values())).sum()
        return log

    def teach_critic(self, critic: Critic, real: Tensor, fake: Tensor, num_parts: int) -> dict[str, Tensor]:
        """Back-propagates one critic's own terms into its parameters; returns its logs."""
        with self.autocast():
            terms: CriticTerms = self.objective.critic_terms(critic, real, fake, self.step_random)
        self.total_of(terms.losses, num_parts).backward(inputs=critic.parameters)
        critic.forget()
        return {name: term.detach() for name, term in terms.losses.items()} | terms.logs

    def total_of(self, terms: Mapping[str, Tensor], num_parts: int) -> Tensor:
        """The sum of the terms of one of ``num_parts`` equal parts of a batch, scaled as mixed precision needs it."""
        return self.scaler.scale(torch.stack([term.float() for term in terms.values()]).sum() / num_parts)

    def apply(self, optimizer: Optimizer, net: nn.Module, logs: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        """Clips the gradients if asked, and steps unless the guard drops the step.

        Args:
            optimizer: Steps ``net``, whose gradients are those of the whole batch.
            net: The network.
            logs: Of each part of the batch.

        Returns:
            The logs of the whole batch: the means over its parts.
        """
        if self.guard.drops_step(logs):
            optimizer.zero_grad(set_to_none=True)
        else:
            if self.settings.clip_grad_norm:
                self.scaler.unscale_(optimizer)
                nn.utils.clip_grad_norm_(net.parameters(), self.settings.clip_grad_norm)
            self.scaler.step(optimizer)
            self._has_stepped = True
        if len(logs) == 1:
            return logs[0]
        return {name: torch.stack([part[name] for part in logs]).mean() for name in logs[0]}

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision as ``train.precision`` says."""
        dtype = self.settings.autocast_dtype
        return torch.autocast(self.device.type, dtype, enabled=dtype is not None)

    @contextmanager
    def gradients_synced(self, is_last: bool) -> Iterator[None]:
        """Gradients are averaged over ranks once, with the last part of a batch."""
        with ExitStack() as stack:
            for net in (self.net_g, *(critic.net for critic in self.critics)):
                if isinstance(net, DistributedDataParallel) and not is_last:
                    stack.enter_context(net.no_sync())
            yield

    # --- inference and state --------------------------------------------------------------------------------------

    @cached_property
    def tiler(self) -> Tiler:
        """Generates images whole or, with ``val.tile``, tile by tile."""
        return Tiler(self.val.tile, self.val.tile_overlap, self.options.scale or 1)

    @contextmanager
    def generating(self) -> Iterator[nn.Module]:
        """The averaged generator where there is one and ``val.use_ema``, else the trained one, in evaluation mode."""
        net = self.average if self.average is not None and self.val.use_ema else bare(self.net_g)
        was_training = net.training
        try:
            with torch.no_grad():
                yield net.eval()
        finally:
            net.train(was_training)

    def test(self) -> None:
        """Sets ``output`` from ``lq``."""
        with self.generating() as net:
            self.output = self.tiler.generate(net, self.lq)

    def predict_picture(self, batch: Mapping[str, Any]) -> Tensor | np.ndarray:
        """As :meth:`predict`, but an image that is split into tiles comes with 8 bit, as a picture on the host."""
        if self.takes_levels():
            lq = batch["lq"].to(self.device, non_blocking=True)  # of which only tiles become floats
        else:
            self.feed_data(batch)
            lq = self.lq
        with self.generating() as net:
            return self.tiler.generate_picture(net, lq)

    def test_selfensemble(self) -> None:
        """Sets ``output`` to the mean over the eight flips and transposes of ``lq``, each turned back.

        Lim et al., "Enhanced Deep Residual Networks for Single Image Super-Resolution", CVPRW 2017, section 3.3.
        """
        lq, outputs = self.lq, []
        for is_transposed in (False, True):
            for axes in ((), (2,), (3,), (2, 3)):
                turned = lq.flip(axes)
                self.lq = turned.mT.contiguous() if is_transposed else turned
                self.test()
                outputs.append((self.output.mT if is_transposed else self.output).flip(axes))
        self.lq, self.output = lq, torch.stack(outputs).mean(dim=0)

    @cached_property
    def spectra_monitor(self) -> SpectraMonitor:
        """Follows spectra and critics from one validation to the next (``val.spectra``)."""
        options, root = self.options, self.options.path.experiments_root
        panel = CriticPanel(self.critics, self.objective, self.validation_images, self.device) if self.critics else None
        file = Path(root) / FILE if root else None
        return SpectraMonitor(file, options.scale or 1, panel, training_size(self.opt))

    def evaluator(self) -> Evaluator:
        evaluator = super().evaluator()
        evaluator.tiler = self.tiler
        # Ranks measure spectra together.
        if self.options.is_train and self.val.spectra and not (self.options.dist and self.measures_itself()):
            evaluator.monitor = self.spectra_monitor
        # Spectra are those of images before they are rounded, and own tests and pictures are made of ``output``.
        elif self.val.tile and type(self).test is SRModel.test and not self.overrides("get_current_visuals"):
            evaluator.predict = self.predict_picture
            evaluator.keeps_depth = self.takes_levels()
        # What other people wrote may count on one image at a time.
        evaluator.may_join = all(getattr(type(self), name) is getattr(SRModel, name) for name in _ONE_IMAGE)
        return evaluator

    def training_state(self) -> dict[str, Any]:
        return {**super().training_state(), "scaler": self.scaler.state_dict()}

    def own_state(self) -> dict[str, Any]:
        return {} if self.pool is None else self.pool.state_dict()

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        super().load_training_state(state)
        if state.get("scaler"):
            with restoring("the scaler"):
                self.scaler.load_state_dict(state["scaler"])
        if pool := state.get("pair_pool"):
            with restoring("the pool of pairs"):
                if self.pool is None and type(self).feed_data is not SRModel.feed_data:
                    # A feed_data of other people makes its pool when it first asks for one.
                    self.pool = PairPool(pool["queue_size"])
                if self.pool is not None:
                    self.pool.load_state_dict(dict(pool))
