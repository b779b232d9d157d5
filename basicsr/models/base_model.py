"""The base of every model: a device, networks, optimizers, schedules, logs, and its state as named entries."""

from __future__ import annotations

import inspect
import logging
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from basicsr.archs.recomputation import recompute_blocks
from basicsr.evaluation.dataset_images import GENERATOR, Scores, name_of
from basicsr.evaluation.results import Evaluation
from basicsr.evaluation.val_options import ValOptions
from basicsr.evaluation.validation import Evaluator
from basicsr.models.checkpoint import Position, save_checkpoint
from basicsr.models.compiling import Compilation
from basicsr.models.graphed_step import StepGraphs
from basicsr.models.lr_scheduler import load_schedule, set_learning_rates
from basicsr.models.optimizers import Params, build_optimizer, load_optimizer
from basicsr.models.options import ModelOptions, TrainOptions
from basicsr.models.presets import Preset
from basicsr.models.saving import StepGate
from basicsr.utils.dist_util import bare, broadcast_object, waiting_for_others
from basicsr.utils.errors import UserError, WeightsError, first_line
from basicsr.utils.parts import Part
from basicsr.utils.placement import place
from basicsr.utils.registry import is_own
from basicsr.utils.seeding import derive_seed, set_random_seed, torch_generator
from basicsr.utils.stopping import interruptible_together
from basicsr.weights import live_state, load_weights, read_weights, save_network

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
        net_g, net_d …: The trained networks, possibly wrapped; see :meth:`networks`.
        net_g_ema: The generator's running average; not there without one.
        step_gate: What a step waits for before it changes weights.
        optimizers: The optimizers; each is an attribute ``optimizer_g``, ``optimizer_d`` … as well.
        metric_results: Means of the last validation by metric; not there before the first.
        log_dict: Detached scalar tensors of the last iteration; read them with :meth:`get_current_log`.
    """

    preset: ClassVar[Preset] = {}
    metric_results: Scores

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.opt = opt
        self.options = ModelOptions.of(opt, self.preset, is_ours=is_own(type(self)))
        self.settings = self.options.train or TrainOptions()
        self.val = self.options.val or ValOptions()
        self.is_train = self.options.is_train
        use_cuda = self.options.num_gpu != 0 and torch.cuda.is_available()
        self.device = torch.device("cuda", torch.cuda.current_device()) if use_cuda else torch.device("cpu")
        self.rank = self.options.rank
        self.seed = self.options.manual_seed
        self.optimizers: list[torch.optim.Optimizer] = []
        self.schedulers: list[torch.optim.lr_scheduler.LRScheduler] = []
        self.log_dict: Mapping[str, Any] = {}
        self.best_metric_results: dict[str, dict[str, Any]] = {}
        self._asked: dict[str, Any] = {}
        self._evaluation: Evaluation | None = None
        self.step_random = torch_generator("degradation", self.seed, self.rank, 0)
        self.compilation = Compilation(self.is_train and self.settings.compile)
        self.graphs = StepGraphs(self.is_train and self.settings.cuda_graph)
        self.step_gate = StepGate()

    # --- randomness -----------------------------------------------------------------------------------------------

    def begin_iteration(self, current_iter: int | str) -> None:
        """Makes everything that the iteration, or a test's label, draws a function of (seed, rank, iteration)."""
        self.compilation.begin(self.nets, self.device, measures=is_own(type(self).optimize_parameters))
        self.graphs.begin(self)
        self.step_random = torch_generator("degradation", self.seed, self.rank, current_iter)
        # Steps of other packages draw from all three: Python, NumPy and PyTorch.
        set_random_seed(derive_seed("step", self.seed, self.rank, current_iter))

    # --- networks -------------------------------------------------------------------------------------------------

    def model_to_device(self, net: nn.Module) -> nn.Module:
        """Moves a network to the device and, in a distributed run, wraps it.

        With ``train.activation_checkpointing`` its blocks compute again what the backward pass needs.
        """
        net = place(net, self.device, self.channels_last)
        if self.is_train and self.settings.activation_checkpointing:
            recompute_blocks(net)
        if not self.options.dist:
            return net
        # Networks see several batches before one backward pass; broadcasting in between would overwrite their buffers.
        # PyTorch has renamed the argument.
        is_renamed = "forward_sync_buffers" in inspect.signature(DistributedDataParallel).parameters
        buffers: dict[str, Any] = {"forward_sync_buffers" if is_renamed else "broadcast_buffers": False}
        devices = [self.device.index] if self.device.type == "cuda" else None
        unused = self.options.find_unused_parameters or getattr(net, "has_idle_parameters", False)
        with waiting_for_others():
            return DistributedDataParallel(net, devices, find_unused_parameters=unused, **buffers)

    @property
    def channels_last(self) -> bool | None:
        """Whether networks are ordered so (``train.channels_last``); ``None``: where it suits them and the device."""
        chosen = self.settings.channels_last if self.is_train else None
        return False if chosen is None and not is_own(type(self)) else chosen

    def get_bare_model(self, net: nn.Module) -> nn.Module:
        """The network inside a DistributedDataParallel wrapper."""
        return bare(net)

    def add_network(
        self, name: str, pretrained: str | None = None, strict: bool = True, param_key: str | None = None
    ) -> nn.Module:
        """Builds a network of the options on the device, loads its weights, and makes it the attribute ``net_{name}``.

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
        setattr(self, f"net_{name}", net)
        return net

    def load_network(
        self, net: nn.Module, load_path: str | os.PathLike[str], strict: bool = True, param_key: str | None = "params"
    ) -> None:
        """Loads an entry of a weights file; for ``None`` training prefers ``params``, testing ``params_ema``.

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

    @property
    def nets(self) -> dict[str, nn.Module]:
        """Every trained network by its short name (``g``, ``d``, ``spectral_d`` …), possibly wrapped.

        These are the attributes ``net_{name}``, in the order in which they were set.
        """
        found = {key.removeprefix("net_"): value for key, value in vars(self).items() if key.startswith("net_")}
        return {name: net for name, net in found.items() if name != "g_ema" and isinstance(net, nn.Module)}

    def networks(self) -> dict[str, nn.Module]:
        """Every trained network by name, unwrapped."""
        return {name: bare(net) for name, net in self.nets.items()}

    @property
    def average(self) -> nn.Module | None:
        """The generator's running average, or ``None``."""
        return getattr(self, "net_g_ema", None)

    @torch.no_grad()
    def model_ema(self, decay: float = 0.999) -> None:
        """Moves ``net_g_ema`` one step towards ``net_g``: ``decay * average + (1 - decay) * weights``.

        Buffers, such as running statistics, are copied.
        """
        net, average = bare(self.nets["g"]), self.average
        assert average is not None  # who asks for a step has made one
        torch._foreach_lerp_(list(average.parameters()), list(net.parameters()), 1 - decay)
        for copied, buffer in zip(average.buffers(), net.buffers(), strict=True):
            copied.copy_(buffer)

    # --- optimizers and learning rates ----------------------------------------------------------------------------

    def add_optimizer(self, name: str, optimizer: Part | None) -> torch.optim.Optimizer:
        """Builds the optimizer of ``net_{name}``, adds it to ``optimizers`` and makes it ``optimizer_{name}``.

        Raises:
            UserError: If the options have none.
        """
        if optimizer is None:
            raise UserError(f"the options have no optimizer for net_{name}")
        block = optimizer.to_plain()
        built = self.get_optimizer(block.pop("type"), self.nets[name].parameters(), **block)
        self.optimizers.append(built)
        setattr(self, f"optimizer_{name}", built)
        return built

    def get_optimizer(
        self, optim_type: str, params: Params, lr: float | None = None, **kwargs: Any
    ) -> torch.optim.Optimizer:
        """Builds a registered optimizer; see :func:`basicsr.models.optimizers.build_optimizer`."""
        rate = {} if lr is None else {"lr": lr}
        return build_optimizer(params, {"type": optim_type, **rate, **kwargs})

    @property
    def optimizer_names(self) -> list[str]:
        """Name of each of ``optimizers``: that of its attribute ``optimizer_{name}``, else its number."""
        names = {id(value): key.removeprefix("optimizer_") for key, value in vars(self).items() if key != "optimizers"}
        return [names.get(id(optimizer), str(index)) for index, optimizer in enumerate(self.optimizers)]

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

    def _named_schedules(self) -> dict[str, torch.optim.lr_scheduler.LRScheduler]:
        """The schedules by their optimizer's name, or by number where other code has made fewer or more of them."""
        is_paired = len(self.schedulers) == len(self.optimizers)
        names = self.optimizer_names if is_paired else map(str, range(len(self.schedulers)))
        return dict(zip(names, self.schedulers, strict=True))

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Sets the learning rates for the next iteration; called after the step of ``current_iter``."""
        for scheduler in self.schedulers:
            set_learning_rates(scheduler, current_iter, warmup_iter)

    def _get_init_lr(self) -> list[list[float]]:
        """The nominal learning rates of each optimizer's parameter groups, which warm-up rises to."""
        return [[group["initial_lr"] for group in optimizer.param_groups] for optimizer in self.optimizers]

    def _set_lr(self, lr_groups_l: list[list[float]]) -> None:
        """Sets the learning rates of each optimizer's parameter groups."""
        for optimizer, rates in zip(self.optimizers, lr_groups_l, strict=True):
            for group, rate in zip(optimizer.param_groups, rates, strict=True):
                group["lr"] = rate

    def get_current_learning_rate(self) -> list[float]:
        """The learning rate of each parameter group of the first optimizer."""
        return [group["lr"] for group in self.optimizers[0].param_groups]

    # --- logs -----------------------------------------------------------------------------------------------------

    def get_current_log(self) -> dict[str, float]:
        """The last iteration's losses and logits, averaged over ranks. Waits for the device."""
        return self.reduce_loss_dict(self.log_dict)

    def reduce_loss_dict(self, loss_dict: Mapping[str, Any]) -> dict[str, float]:
        """The means of tensors or numbers over their elements and over ranks, all of which must call it."""
        if not loss_dict:
            return {}
        means = [torch.as_tensor(loss, dtype=torch.float32, device=self.device) for loss in loss_dict.values()]
        values = torch.stack([loss.detach().mean() for loss in means])
        if self.options.dist:
            dist.all_reduce(values)
            values /= dist.get_world_size()
        return dict(zip(loss_dict, values.tolist(), strict=True))

    # --- state ----------------------------------------------------------------------------------------------------

    def save_networks(self, current_iter: int) -> None:
        """Writes every network by :meth:`save_network`; the generator's file holds its average too."""
        for name, net in self.networks().items():
            average = self.average if name == "g" else None
            if average is None:
                self.save_network(net, f"net_{name}", current_iter)
            else:
                self.save_network([net, average], f"net_{name}", current_iter, ["params", "params_ema"])

    def save_network(
        self,
        net: nn.Module | list[nn.Module],
        net_label: str,
        current_iter: int,
        param_key: str | list[str] = "params",
    ) -> None:
        """Writes ``{net_label}_{iter}.pth`` under ``path.models`` on rank 0; iteration -1 is called ``latest``.

        Args:
            net: A network, possibly wrapped, or several for one file.
            net_label: ``net_g``, ``net_d`` …
            current_iter: The iteration.
            param_key: The entry of each network.
        """
        if self.rank == 0:
            nets = net if isinstance(net, list) else [net]
            keys = param_key if isinstance(param_key, list) else [param_key]
            save_network(dict(zip(keys, nets, strict=True)), self._weights_file(net_label, current_iter))

    def _weights_file(self, net_label: str, current_iter: int) -> Path:
        return Path(self.opt["path"]["models"]) / f"{net_label}_{'latest' if current_iter == -1 else current_iter}.pth"

    def weights_files(self, current_iter: int) -> dict[Path, dict[str, str]]:
        """The files of :meth:`save_networks`, each with networks of :meth:`training_state` by the file's keys.

        A checkpoint names them instead of holding the same weights. Empty for classes that write files of their own.
        """
        if self.overrides("save", "save_training_state", "save_networks", "save_network"):
            return {}
        average = {} if self.average is None else {"params_ema": "g_ema"}
        return {
            self._weights_file(f"net_{name}", current_iter): {"params": name} | (average if name == "g" else {})
            for name in self.networks()
        }

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
        weights = self.weights_files(current_iter) if current_iter != -1 else {}
        if weights:
            self._save_state(epoch, current_iter, weights)
        else:
            self.save_networks(current_iter)
            self.save_training_state(epoch, current_iter)

    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Writes ``{current_iter}.state`` with all weights in it; nothing for iteration -1."""
        if current_iter != -1:
            self._save_state(epoch, current_iter)

    def _save_state(self, epoch: int, current_iter: int, weights: dict[Path, dict[str, str]] | None = None) -> None:
        folder, numbers = self.opt["path"]["training_states"], self.options.numbers
        place = Position(current_iter, epoch)
        save_checkpoint(folder, self, place, self.options.digest, options=numbers, weights=weights)

    def resume_training(self, resume_state: Mapping[str, Any]) -> None:
        """Restores what :func:`basicsr.train.load_resume_state` has read."""
        self.load_training_state(resume_state["model"])

    def training_state(self) -> dict[str, Any]:
        """All that has state, as named entries that ``torch.load(weights_only=True)`` reads back.

        Tensors are the training's own, on its device; the next step changes them.
        """
        nets = self.nets if self.average is None else {**self.nets, "g_ema": self.average}
        compiled = {"compiled": self.compilation.state(self.nets)} if self.compilation.asked else {}
        return {
            **compiled,
            "networks": {name: live_state(net) for name, net in nets.items()},
            "optimizers": {n: o.state_dict() for n, o in zip(self.optimizer_names, self.optimizers, strict=True)},
            "schedulers": {name: schedule.state_dict() for name, schedule in self._named_schedules().items()},
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
        self.graphs.forget()
        self.compilation.load_state(state.get("compiled", {}))
        for name, net in self.nets.items():
            load_weights(net, _entry(state, "networks", name), source=f"checkpoint, network {name}")
        for name, optimizer in zip(self.optimizer_names, self.optimizers, strict=True):
            with restoring(f"the optimizer of net_{name}"):
                load_optimizer(optimizer, _entry(state, "optimizers", name))
        warmup_iter = None if self.overrides("update_learning_rate") else self.settings.warmup_iter
        for name, schedule in self._named_schedules().items():
            with restoring(f"the schedule of net_{name}"):
                load_schedule(schedule, _entry(state, "schedulers", name), warmup_iter)
        if self.average is not None:
            average = state["networks"].get("g_ema") or state["networks"]["g"]
            load_weights(self.average, average, source="checkpoint, network g_ema")
        with restoring("the best metrics"):
            self.best_metric_results = dict(state.get("best_metrics", {}))

    # --- inference ------------------------------------------------------------------------------------------------

    lq: Tensor
    gt: Tensor | None
    output: Tensor

    def feed_data(self, data: Mapping[str, Any]) -> None:
        """Takes a batch from a loader."""
        raise NotImplementedError

    @classmethod
    def takes_levels(cls) -> bool:
        """Whether :meth:`feed_data` takes images of uint8 and uint16, a quarter or half of the bytes of floats."""
        return False

    def optimize_parameters(self, current_iter: int) -> None:
        """Takes one training step on the batch that was fed; ``current_iter`` is its number, from 1."""
        raise NotImplementedError

    def test(self) -> None:
        """Sets ``output`` from ``lq`` without gradients."""
        raise NotImplementedError

    def predict(self, batch: Mapping[str, Any]) -> Tensor:
        """The generator's images (B, C, H, W) of a batch, on its device or, from a class's own visuals, on any."""
        self.feed_data(batch)
        self.test()
        return self.get_current_visuals()["result"] if self.overrides("get_current_visuals") else self.output

    @classmethod
    def overrides(cls, *methods: str) -> bool:
        """Whether a class has methods of its own in place of :class:`BaseModel`'s."""
        return any(getattr(cls, name) is not getattr(BaseModel, name) for name in methods)

    @classmethod
    def measures_itself(cls) -> bool:
        """Whether a class validates in a way of its own; rank 0 does so alone, as published code expects."""
        return cls.overrides("validation", "dist_validation", "nondist_validation")

    def evaluator(self) -> Evaluator:
        """What measures the generator's images, see :mod:`basicsr.evaluation.validation`."""
        options = self.options
        return Evaluator(
            self.predict,
            self.val,
            scale=options.scale or 1,
            folder=Path(options.path.visualization or "visualization"),
            name=options.name or "",
            is_train=options.is_train,
            share=options.dist_val and not self.measures_itself(),
            together=not self.measures_itself(),
            best=self.best_metric_results,
            device=self.device,
        )

    def measure(
        self,
        dataloader: Iterable[Mapping[str, Any]],
        current_iter: int | str,
        tb_logger: Any = None,
        save_img: bool = False,
        **asked: Any,
    ) -> Evaluation:
        """Validates on a data set, in the class's own way where it has one.

        Args:
            dataloader: Batches of one image.
            current_iter: Iteration, or a label when testing.
            tb_logger: A TensorBoard writer, or ``None``.
            save_img: Whether to write every generated image.
            asked: ``compare`` and ``pictures`` of :meth:`basicsr.evaluation.validation.Evaluator.evaluate`; a class
                that measures everything by itself does not hear of them.

        Returns:
            Every image's metrics; of such a class its means alone, under the name ``(mean)``.
        """
        self._asked, self._evaluation = asked, None
        self.begin_iteration(current_iter)
        self.validation(dataloader, current_iter, tb_logger, save_img)
        if self._evaluation is None:
            protocol = f"as {type(self).__name__} measures it"
            means = {metric: float(value) for metric, value in self._last_results().items()}
            images, protocols = {"(mean)": {GENERATOR: means}}, dict.fromkeys(means, protocol)
            self._evaluation = Evaluation(name_of(dataloader), images, protocols)
        return self._evaluation

    def validation(
        self, dataloader: Iterable[Mapping[str, Any]], current_iter: int | str, tb_logger: Any, save_img: bool = False
    ) -> dict[str, Scores]:
        """Measures ``val.metrics`` on a data set; returns ``{data set: metric_results}``. All ranks must call it."""
        validate = self.dist_validation if self.options.dist else self.nondist_validation
        validate(dataloader, current_iter, tb_logger, save_img)
        return {name_of(dataloader): self._last_results()}

    def _last_results(self) -> Scores:
        return getattr(self, "metric_results", {})

    def dist_validation(
        self, dataloader: Iterable[Mapping[str, Any]], current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Validates with several processes: they share the images, or rank 0 does all in the class's own way."""
        measures_itself = self.measures_itself()
        with interruptible_together() if measures_itself else nullcontext():
            if not measures_itself or self.rank == 0:
                self.nondist_validation(dataloader, current_iter, tb_logger, save_img)
        # What rank 0 has found counts on all ranks, which wait for it.
        found = self._last_results(), self.best_metric_results
        self.metric_results, self.best_metric_results = broadcast_object(found)

    def nondist_validation(
        self, dataloader: Iterable[Mapping[str, Any]], current_iter: int | str, tb_logger: Any, save_img: bool
    ) -> None:
        """Measures the images that :meth:`predict` gives, logs the means and keeps the best."""
        evaluator, asked = self.evaluator(), self._asked
        self._asked = {}
        self._evaluation = evaluator.evaluate(dataloader, current_iter, tb_logger, save_img, **asked)
        evaluator.record(self._evaluation, current_iter, tb_logger)
        self.metric_results = self._evaluation.means()

    def _initialize_best_metric_results(self, dataset_name: str) -> None:
        """Begins the record of a data set's best values: for each metric ``better``, ``val`` and ``iter``."""
        record = self.best_metric_results.setdefault(dataset_name, {})
        for name, metric in self.evaluator().metrics.items():
            worst = -math.inf if metric.better == "higher" else math.inf
            record.setdefault(name, {"better": metric.better, "val": worst, "iter": -1})

    def _update_best_metric_result(self, dataset_name: str, metric: str, val: float, current_iter: int) -> None:
        """Keeps a value, and its iteration, if it is no worse than the best so far."""
        best = self.best_metric_results[dataset_name][metric]
        if val >= best["val"] if best["better"] == "higher" else val <= best["val"]:
            best |= {"val": val, "iter": current_iter}

    def _log_validation_metric_values(self, current_iter: int | str, dataset_name: str, tb_logger: Any) -> None:
        """Logs ``metric_results`` and, where they were kept, the best values; and writes them to TensorBoard."""
        lines = [f"Validation {dataset_name}"]
        for metric, value in self._last_results().items():
            best = self.best_metric_results.get(dataset_name, {}).get(metric)
            suffix = f"  best: {best['val']:.4f} at iteration {best['iter']}" if best else ""
            lines.append(f"  # {metric}: {value:.4f}{suffix}")
            if tb_logger:
                tb_logger.add_scalar(f"metrics/{dataset_name}/{metric}", value, current_iter)
        logger.info("%s", "\n".join(lines))

    def get_current_visuals(self) -> dict[str, Tensor]:
        """The last images on the CPU: ``lq``, ``result`` and, where known, ``gt``; (B, C, H, W) in [0, 1]."""
        visuals = {"lq": self.lq, "result": self.output, "gt": getattr(self, "gt", None)}
        return {name: image.detach().cpu() for name, image in visuals.items() if image is not None}


@contextmanager
def restoring(what: str) -> Iterator[None]:
    """Turns what goes wrong while a part of a checkpoint is restored into a :class:`WeightsError` that names it."""
    try:
        yield
    except WeightsError as error:
        raise WeightsError(f"checkpoint, {what}: {error}") from error
    except (KeyError, ValueError, TypeError, IndexError, AttributeError, RuntimeError) as error:
        raise WeightsError(f"checkpoint, {what}: does not fit ({type(error).__name__}: {first_line(error)})") from error


def _entry(state: Mapping[str, Any], kind: str, name: str) -> Any:
    entries: Mapping[str, Any] = state.get(kind, {})
    if name not in entries:
        known = ", ".join(entries) or "none"
        raise WeightsError(
            f"the checkpoint has no {kind[:-1]} {name!r} (it has: {known}); it belongs to another model_type"
        )
    return entries[name]
