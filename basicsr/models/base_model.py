"""What every model has: a device, networks, optimizers, schedules, logs, and its state as named entries."""

from __future__ import annotations

import inspect
import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from basicsr.evaluation.validation import Evaluator, ValOptions
from basicsr.models.checkpoint import Position, save_checkpoint
from basicsr.models.lr_scheduler import set_learning_rates
from basicsr.models.optimizers import build_optimizer
from basicsr.models.options import ModelOptions, TrainOptions
from basicsr.models.presets import Preset
from basicsr.utils.dist_util import bare
from basicsr.utils.errors import UserError, WeightsError
from basicsr.utils.parts import Part
from basicsr.utils.seeding import derive_seed, torch_generator
from basicsr.utils.weights import cpu_state, load_weights, read_weights, save_network

logger = logging.getLogger("basicsr")


class BaseModel:
    """A composition of networks and the state that training them needs.

    Args:
        opt: Options in published or today's form; read, never written. Only the keys that a model uses must be there.

    Attributes:
        preset: What the class stands for where the options leave it open.
        opt: The options as given.
        options: The same, validated and typed.
        settings: Its section ``train``, or the defaults.
        val: Its section ``val``, or the defaults.
        device: Where networks and batches live; the CPU if ``num_gpu`` is 0 or no GPU is there.
        is_train: Whether the model was built to train.
        nets: Every trained network by its short name (``g``, ``d``, ``spectral_d`` …), possibly wrapped.
        net_g_ema: The generator's running average, or ``None``.
        optimizers: The optimizers, in the order of ``nets``.
        log_dict: Detached scalar tensors of the last iteration; read them with :meth:`get_current_log`.
    """

    preset: ClassVar[Preset] = {}

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.opt = opt
        self.options = ModelOptions.of(opt, self.preset)
        self.settings = self.options.train or TrainOptions()
        self.val = self.options.val or ValOptions()
        self.is_train = self.options.is_train
        use_cuda = self.options.num_gpu != 0 and torch.cuda.is_available()
        self.device = torch.device("cuda", torch.cuda.current_device()) if use_cuda else torch.device("cpu")
        self.rank = self.options.rank
        self.seed = self.options.manual_seed
        self.nets: dict[str, nn.Module] = {}
        self.net_g_ema: nn.Module | None = None
        self.optimizers: list[torch.optim.Optimizer] = []
        self.optimizer_names: list[str] = []
        self.schedulers: list[torch.optim.lr_scheduler.LRScheduler] = []
        self.log_dict: dict[str, Tensor] = {}
        self.best_metric_results: dict[str, dict[str, Any]] = {}
        self.generator = torch_generator("degradation", self.seed, self.rank, 0)

    # --- randomness -----------------------------------------------------------------------------------------------

    def begin_iteration(self, current_iter: int) -> None:
        """Makes everything that the iteration draws a function of (seed, rank, iteration)."""
        self.generator = torch_generator("degradation", self.seed, self.rank, current_iter)
        torch.manual_seed(derive_seed("step", self.seed, self.rank, current_iter))

    # --- networks -------------------------------------------------------------------------------------------------

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Moves a network to the device and, in a distributed run, wraps it."""
        net = net.to(self.device)
        if not self.options.dist:
            return net
        # Networks see several batches before one backward pass; broadcasting in between would overwrite their buffers.
        # PyTorch has renamed the argument.
        is_renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
        buffers: dict[str, Any] = {"forward_sync_buffers" if is_renamed else "broadcast_buffers": False}
        devices = [self.device.index] if self.device.type == "cuda" else None
        unused = self.options.find_unused_parameters
        return DistributedDataParallel(net, devices, find_unused_parameters=unused, **buffers)

    def get_bare_model(self, net: nn.Module) -> nn.Module:
        """The network inside a DistributedDataParallel wrapper."""
        return bare(net)

    def add_network(
        self, name: str, pretrained: str | None = None, strict: bool = True, param_key: str | None = None
    ) -> nn.Module:
        """Builds a network of the options on the device, loads its weights, and adds it to ``nets``.

        Args:
            name: ``g``, or the name of a critic.
            pretrained: Weights to load.
            strict: Whether names and shapes must all fit.
            param_key: Entry of the weights file.
        """
        net = self.model_to_device(self.options.take_network(name))
        if pretrained:
            self.load_network(net, pretrained, strict, param_key)
        self.print_network(net)
        self.nets[name] = net
        return net

    def load_network(
        self, net: nn.Module, load_path: str | os.PathLike[str], strict: bool = True, param_key: str | None = None
    ) -> None:
        """Loads a weights file; training prefers ``params``, testing ``params_ema`` where no key is named.

        Raises:
            WeightsError: If the file is missing or does not fit and ``strict`` is true.
        """
        state = read_weights(load_path, param_key, prefer="params" if self.is_train else "params_ema")
        load_weights(net, state, strict=strict, source=str(load_path))
        logger.info("Loaded %s from %s.", type(bare(net)).__name__, load_path)

    def print_network(self, net: nn.Module) -> None:
        """Logs a network's class and number of parameters."""
        count = sum(parameter.numel() for parameter in bare(net).parameters())
        logger.info("Network: %s, with parameters: %s", type(bare(net)).__name__, f"{count:,d}")

    def networks(self) -> dict[str, nn.Module]:
        """Every trained network by name, unwrapped."""
        return {name: bare(net) for name, net in self.nets.items()}

    # --- optimizers and learning rates ----------------------------------------------------------------------------

    def add_optimizer(self, name: str, optimizer: Part | None) -> torch.optim.Optimizer:
        """Builds the optimizer of one of ``nets`` and adds it to ``optimizers``.

        Raises:
            UserError: If the options have none.
        """
        if optimizer is None:
            raise UserError(f"the options have no optimizer for net_{name}")
        built = build_optimizer(self.nets[name].parameters(), optimizer.to_plain())
        self.optimizers.append(built)
        self.optimizer_names.append(name)
        return built

    def setup_schedulers(self) -> None:
        """Builds one schedule per optimizer: its own where it has one, else ``train.scheduler``."""
        own = {name: critic.scheduler for name, critic in self.options.critics.items()}
        own["g"] = self.settings.scheduler_g
        self.schedulers = []
        for name, optimizer in zip(self.optimizer_names, self.optimizers, strict=True):
            schedule = own.get(name) or self.settings.scheduler
            if schedule is None:
                raise UserError("the options have no train.scheduler")
            self.schedulers.append(schedule.build(optimizer))

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Sets the learning rates for the next iteration; called after the step of ``current_iter``."""
        for scheduler in self.schedulers:
            set_learning_rates(scheduler, current_iter, warmup_iter)

    def get_current_learning_rate(self) -> list[float]:
        """The learning rate of each parameter group of the first optimizer."""
        return [group["lr"] for group in self.optimizers[0].param_groups]

    # --- logs -----------------------------------------------------------------------------------------------------

    def get_current_log(self) -> dict[str, float]:
        """The last iteration's losses and logits, averaged over ranks. Waits for the device."""
        if not self.log_dict:
            return {}
        values = torch.stack([value.detach().float() for value in self.log_dict.values()])
        if self.options.dist:
            dist.all_reduce(values)
            values /= dist.get_world_size()
        return dict(zip(self.log_dict, values.tolist(), strict=True))

    # --- state ----------------------------------------------------------------------------------------------------

    def save_networks(self, current_iter: int) -> None:
        """Writes ``net_{name}_{iter}.pth`` under ``path.models``; iteration -1 is called ``latest``.

        The generator's file holds its average too, as ``params_ema``.
        """
        if self.rank != 0:
            return
        label = "latest" if current_iter == -1 else str(current_iter)
        for name, net in self.networks().items():
            average = {"params_ema": self.net_g_ema} if name == "g" and self.net_g_ema is not None else {}
            save_network({"params": net, **average}, Path(self.opt["path"]["models"]) / f"net_{name}_{label}.pth")

    def save(self, epoch: int, current_iter: int) -> None:
        """Writes the networks and ``{current_iter}.state``, for a training loop of your own; all ranks call it.

        A run that goes on from there begins at the start of the epoch; :mod:`basicsr.engine.trainer`, which knows how
        far into the epoch a run is, goes on from the very sample.

        Args:
            epoch: The epoch that is being trained, from 0.
            current_iter: Iterations done; -1 writes the networks only, as ``latest``.

        Raises:
            TrainingError: If the state cannot be written.
        """
        self.save_networks(current_iter)
        if current_iter != -1:
            folder = self.opt["path"]["training_states"]
            save_checkpoint(folder, self, Position(current_iter, epoch), self.options.digest)

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Restores what :func:`basicsr.train.load_resume_state` has read."""
        self.load_training_state(resume_state["model"])

    def training_state(self) -> dict[str, Any]:
        """All that has state, as named entries that ``torch.load(weights_only=True)`` reads back."""
        nets = self.nets if self.net_g_ema is None else {**self.nets, "g_ema": self.net_g_ema}
        return {
            "networks": {name: cpu_state(net) for name, net in nets.items()},
            "optimizers": {n: o.state_dict() for n, o in zip(self.optimizer_names, self.optimizers, strict=True)},
            "schedulers": {n: s.state_dict() for n, s in zip(self.optimizer_names, self.schedulers, strict=True)},
            "best_metrics": self.best_metric_results,
            "pair_pool": self.own_state(),
        }

    def own_state(self) -> dict[str, Any] | None:
        """The entry ``pair_pool`` of :meth:`training_state`, which differs between ranks; ``None`` if there is none.

        Ranks other than 0 are asked for nothing else when a checkpoint is saved.
        """
        return None

    def load_training_state(self, state: Mapping[str, Any]) -> None:
        """Restores what :meth:`training_state` returned.

        Raises:
            WeightsError: If an entry is missing or does not fit; nothing is skipped.
        """
        for name, net in self.nets.items():
            load_weights(net, _entry(state, "networks", name), source=f"checkpoint, network {name}")
        for name, optimizer, scheduler in zip(self.optimizer_names, self.optimizers, self.schedulers, strict=True):
            optimizer.load_state_dict(_entry(state, "optimizers", name))
            scheduler.load_state_dict(_entry(state, "schedulers", name))
        self.best_metric_results = dict(state.get("best_metrics", {}))

    # --- inference ------------------------------------------------------------------------------------------------

    lq: Tensor
    gt: Tensor | None
    output: Tensor

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Takes a batch from a loader."""
        raise NotImplementedError

    def optimize_parameters(self, current_iter: int) -> None:
        """Takes one training step on the batch that was fed; ``current_iter`` is its number, from 1."""
        raise NotImplementedError

    def test(self) -> None:
        """Sets ``output`` from ``lq`` without gradients."""
        raise NotImplementedError

    def predict(self, batch: Mapping[str, Any]) -> Tensor:
        """The generator's images (B, C, H, W) of a batch, on its device."""
        self.feed_data(batch)
        self.test()
        return self.output

    def evaluator(self) -> Evaluator:
        """What measures the generator's images, see :mod:`basicsr.evaluation.validation`."""
        options = self.options
        return Evaluator(
            self.predict,
            self.val,
            scale=options.scale or 1,
            folder=Path(options.path.visualization or "visualization"),
            name=options.name or "",
            is_train=self.is_train,
            share=options.dist_val,
            best=self.best_metric_results,
        )

    def validation(
        self, dataloader: Iterable[Mapping[str, Any]], current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> dict[str, dict[str, float]]:
        """Measures ``val.metrics`` on a data set; returns ``{data set: {metric: mean}}``."""
        evaluator = self.evaluator()
        evaluation = evaluator.evaluate(dataloader, current_iter, tb_logger, save_img)
        evaluator.record(evaluation, current_iter, tb_logger)
        return {evaluation.dataset: evaluation.means()}

    def get_current_visuals(self) -> dict[str, Tensor]:
        """The last images on the CPU: ``lq``, ``result`` and, where known, ``gt``; (B, C, H, W) in [0, 1]."""
        visuals = {"lq": self.lq, "result": self.output, "gt": self.gt}
        return {name: image.detach().cpu() for name, image in visuals.items() if image is not None}


def _entry(state: Mapping[str, Any], kind: str, name: str) -> Any:
    entries: Mapping[str, Any] = state.get(kind, {})
    if name not in entries:
        known = ", ".join(entries) or "none"
        raise WeightsError(
            f"the checkpoint has no {kind[:-1]} {name!r} (it has: {known}); it belongs to another model_type"
        )
    return entries[name]
