"""The training step, written once for every recipe in :mod:`basicsr.models.table`."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from basicsr.adversarial import CriticTerms, frozen
from basicsr.archs import build_network
from basicsr.evaluation.tiling import size_multiple, tiled_forward
from basicsr.losses.content import build_content_losses
from basicsr.models.base_model import BaseModel
from basicsr.models.batch import StepBatch, TrainingData
from basicsr.models.critics import build_critics, build_objective
from basicsr.models.ema import EMA
from basicsr.models.network_io import cpu_state, load_weights
from basicsr.models.nonfinite import NonfiniteGuard
from basicsr.models.requirements import check_model_options
from basicsr.models.settings import StepSettings
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.dist_util import bare
from basicsr.utils.errors import Problem
from basicsr.utils.registry import MODEL_REGISTRY

logger = logging.getLogger("basicsr")


@MODEL_REGISTRY.register()
class SRModel(BaseModel):
    """Generator, content losses, critics and degradation, composed as the class's table row says.

    An iteration trains the generator against frozen critics, then every critic on the images it produced, then moves
    the average of the generator. ``train.accumulate_steps`` splits the batch; each part is scored by itself.
    """

    recipe: ClassVar[Recipe] = TABLE["SRModel"]

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__(opt)
        self.net_g = self.model_to_device(build_network(opt["network_g"]))
        self.nets["g"] = self.net_g
        self.load_pretrained(self.net_g, "g")
        self.print_network(self.net_g)
        self.net_g_ema: nn.Module | None = None
        self.gt = None
        self.gt_usm: Tensor | None = None
        self.batch_info: dict[str, list[str]] = {}
        if self.is_train:
            self.init_training_settings()

    @classmethod
    def check_options(cls, opt: Mapping[str, Any]) -> list[Problem]:
        return check_model_options(cls.recipe, opt)

    def init_training_settings(self) -> None:
        """Builds all that only training needs."""
        train = self.opt["train"]
        self.settings = StepSettings.from_options(self.opt)
        self.net_g.train()
        self.ema = EMA(bare(self.net_g), self.settings.ema_decay) if self.settings.ema_decay > 0 else None
        self.net_g_ema = self.ema.net if self.ema else None
        self.content = build_content_losses(train, prefix="l_g_" if self.recipe.critics else "l_").to(self.device)
        self.data = TrainingData(self.recipe, self.opt, self.settings)
        self.critics = build_critics(self, self.recipe)
        if self.critics:
            self.objective = build_objective(self.recipe, self.opt)
        self.setup_optimizers()
        self.setup_schedulers()
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=self.settings.precision == "fp16")
        self.guard = NonfiniteGuard(self.settings.on_nonfinite)

    def setup_optimizers(self) -> None:
        """One optimizer for the generator and one per critic."""
        self.optimizer_g = self.add_optimizer("g", self.net_g.parameters(), "optim_g")
        for critic in self.critics:
            critic.optimizer = self.add_optimizer(critic.name, critic.net.parameters(), f"optim_{critic.name}")

    # --- data -----------------------------------------------------------------------------------------------------

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Takes a batch from a loader: GT images that the recipe's degradation turns into pairs, or pairs.

        Pairs have ``lq`` and ``gt``, and may have ``gt_usm``, the sharpened GT, which Real-ESRGAN makes otherwise.
        """
        if "lq" in data or not self.is_train:
            images = {k: data[k].to(self.device, non_blocking=True) for k in ("lq", "gt", "gt_usm") if k in data}
            self.lq, self.gt, self.gt_usm = images["lq"], images.get("gt"), images.get("gt_usm")
            if self.is_train and self.gt is not None and self.gt_usm is None:
                self.gt_usm = self.data.sharpen_pairs(self.gt)
            self.batch_info = {key: list(data[key]) for key in ("gt_path", "lq_path") if key in data}
        else:
            moved = {k: v.to(self.device, non_blocking=True) for k, v in data.items() if isinstance(v, Tensor)}
            pair = self.data.degrade(moved, self.generator, data.get("gt_path"))
            self.lq, self.gt, self.gt_usm = pair.lq, pair.gt, pair.gt_usm
            self.batch_info = {} if pair.gt_path is None else {"gt_path": list(pair.gt_path)}

    # --- the step -------------------------------------------------------------------------------------------------

    def optimize_parameters(self, current_iter: int) -> None:
        """One iteration on the batch that :meth:`feed_data` took."""
        parts = self.data.split(self.lq, self.gt, self.gt_usm)
        inputs = self.describe_inputs()
        logs: dict[str, Tensor] = {}
        if not self.critics or self.settings.trains_generator(current_iter):
            logs |= self.step_generator(parts, current_iter)
        else:
            with torch.no_grad(), self.autocast():
                for part in parts:
                    part.take_output(self.net_g(part.lq))
        for critic in self.critics:
            logs |= self.step_critic(critic, parts)
        self.scaler.update()
        if self.ema:
            self.ema.update(bare(self.net_g))
        self.output = parts[0].sr if len(parts) == 1 else torch.cat([part.sr for part in parts])
        self.log_dict = logs
        self.guard.watch(current_iter, logs, inputs)

    def describe_inputs(self) -> dict[str, Any]:
        """What the step's losses depend on beside the weights: images, their files, and the state of random draws."""
        images = {"lq": self.lq, "gt": self.gt} | ({} if self.gt_usm is None else {"gt_usm": self.gt_usm})
        return {**images, **self.batch_info, "generator": self.generator.get_state()}

    def step_generator(self, parts: list[StepBatch], current_iter: int) -> dict[str, Tensor]:
        """Trains the generator on content and adversarial terms; returns its logs."""
        self.optimizer_g.zero_grad(set_to_none=True)
        logs: list[dict[str, Tensor]] = []
        for index, part in enumerate(parts):
            with frozen(self.critics), self.gradients_synced(self.net_g, index == len(parts) - 1):
                terms = self.generator_terms(part)
                self.backward(terms, len(parts))
            part.detach()
            if len(parts) > 1:
                for critic in self.critics:
                    critic.forget()
            logs.append(self.summarize_generator_terms(terms))
        if self.recipe.trains_branch_first and self.settings.trains_branch_only(current_iter):
            for name, parameter in self.net_g.named_parameters():
                if "f_" not in name:
                    parameter.grad = None
        self.apply(self.optimizer_g, self.net_g, logs)
        return _mean_logs(logs)

    def generator_terms(self, part: StepBatch) -> dict[str, Tensor]:
        """All weighted terms of the generator's loss on one part of the batch, by log key."""
        with self.autocast():
            part.take_output(self.net_g(part.lq))
            if self.content.needs_ema and self.net_g_ema is not None:
                with torch.no_grad():
                    part.take_ema_output(self.net_g_ema(part.lq))
            terms = dict(self.content(part.content_inputs()))
            if self.critics:
                real, fake = self.data.critic_images(part, self.generator)
                terms |= self.objective.generator_terms(self.critics, real, fake)
        return terms

    def summarize_generator_terms(self, terms: dict[str, Tensor]) -> dict[str, Tensor]:
        """The terms as logged: with the sum over critics, or the total where there are none."""
        logs = {name: term.detach() for name, term in terms.items()}
        adversarial = [term for name, term in logs.items() if name.startswith("l_g_gan_")]
        if adversarial:
            logs["l_g_gan"] = torch.stack(adversarial).sum()
        if not self.critics:
            logs["l_total"] = torch.stack(list(logs.values())).sum()
        return logs

    def step_critic(self, critic: Any, parts: list[StepBatch]) -> dict[str, Tensor]:
        """Trains one critic on real and generated images; returns its logs."""
        critic.optimizer.zero_grad(set_to_none=True)
        logs: list[dict[str, Tensor]] = []
        for index, part in enumerate(parts):
            with self.gradients_synced(critic.net, index == len(parts) - 1):
                with self.autocast():
                    real, fake = self.data.critic_images(part, self.generator)
                    terms: CriticTerms = self.objective.critic_terms(critic, real, fake.detach(), self.generator)
                self.backward(terms.losses, len(parts))
            critic.forget()
            logs.append({name: term.detach() for name, term in terms.losses.items()} | terms.logs)
        self.apply(critic.optimizer, critic.net, logs)
        return _mean_logs(logs)

    def backward(self, terms: Mapping[str, Tensor], num_parts: int) -> None:
        """Back-propagates the sum of the terms, as one of ``num_parts`` equal parts of a batch."""
        total = torch.stack([term.float() for term in terms.values()]).sum() / num_parts
        self.scaler.scale(total).backward()

    def apply(self, optimizer: torch.optim.Optimizer, net: nn.Module, logs: list[dict[str, Tensor]]) -> None:
        """Clips the gradients if asked, and steps unless the guard drops the step."""
        if self.guard.drops_step(logs):
            optimizer.zero_grad(set_to_none=True)
            return
        if self.settings.clip_grad_norm:
            self.scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(net.parameters(), self.settings.clip_grad_norm)
        self.scaler.step(optimizer)

    def autocast(self) -> AbstractContextManager[Any]:
        """Mixed precision as ``train.precision`` says."""
        dtype = self.settings.autocast_dtype
        return torch.autocast(self.device.type, dtype) if dtype else nullcontext()

    @staticmethod
    def gradients_synced(net: nn.Module, last: bool) -> AbstractContextManager[Any]:
        """Gradients are averaged over ranks once, with the last part of a batch."""
        if isinstance(net, DistributedDataParallel) and not last:
            return net.no_sync()
        return nullcontext()

    # --- inference and state --------------------------------------------------------------------------------------

    def test(self) -> None:
        """Sets ``output`` from ``lq`` by the averaged generator where there is one, tile by tile if ``val.tile``."""
        val = self.opt.get("val") or {}
        use_average = self.net_g_ema is not None and val.get("use_ema", True)
        net = self.net_g_ema if use_average and self.net_g_ema is not None else bare(self.net_g)
        was_training = net.training
        net.eval()
        with torch.no_grad():
            self.output = tiled_forward(
                lambda lq: _image_of(net(lq)),
                self.lq,
                val.get("tile"),
                val.get("tile_overlap"),
                self.opt["scale"],
                size_multiple(net),
            )
        net.train(was_training)

    def validation(
        self, dataloader: Any, current_iter: int, tb_logger: Any, save_img: bool = False
    ) -> dict[str, dict[str, float]]:
        """Measures ``val.metrics`` on a data set; see :mod:`basicsr.evaluation.validation`."""
        from basicsr.evaluation.validation import evaluate

        return evaluate(self, dataloader, current_iter, tb_logger, save_img)

    def exported_networks(self) -> dict[str, dict[str, nn.Module]]:
        exported = super().exported_networks()
        if self.net_g_ema is not None:
            exported["g"]["params_ema"] = self.net_g_ema
        return exported

    def training_state(self) -> dict[str, Any]:
        state = super().training_state()
        if self.net_g_ema is not None:
            state["networks"]["g_ema"] = cpu_state(self.net_g_ema)
        state["scaler"] = self.scaler.state_dict()
        state["pair_pool"] = self.data.state_dict()
        return state

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        super().load_training_state(state)
        if self.net_g_ema is not None:
            average = state["networks"].get("g_ema") or state["networks"]["g"]
            load_weights(self.net_g_ema, average, source="checkpoint, network g_ema")
        if state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        self.data.load_state_dict(state.get("pair_pool") or {})


def _image_of(output: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The image among a generator's outputs: SPSR's gives (gradient branch, image, LQ gradient)."""
    return output if isinstance(output, Tensor) else output[1]


def _mean_logs(logs: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    if len(logs) == 1:
        return logs[0]
    return {name: torch.stack([part[name] for part in logs]).mean() for name in logs[0]}
