"""Networks that train compiled (``train.compile``), in place: names, files and evaluation are the network's own."""

from __future__ import annotations

import functools
import logging
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.archs.arch_util import needs_double_backward
from basicsr.utils.dist_util import bare, is_compiled
from basicsr.utils.errors import first_line

logger = logging.getLogger("basicsr")

BACKEND = "inductor"


@functools.cache
def find_obstacle(device: str) -> str:
    """Why nothing can be compiled for a type of device, such as ``cpu``; empty if a tiny function could be."""
    # A constant that no earlier process had, so that the compiler itself is needed, not its cache.
    constant = time.time_ns() / 2**63
    try:
        compiled = torch.compile(lambda x: x.sin() * constant, backend=BACKEND, fullgraph=True, dynamic=False)
        compiled(torch.ones(8, device=device))
    except Exception as error:
        cause = getattr(error, "inner_exception", error)  # which PyTorch 2.4 has in its second line
        return f"{type(cause).__name__}: {first_line(cause)}"
    return ""


def compile_network(name: str, net: nn.Module) -> None:
    """Has a network run compiled in training mode, without a break in its graph.

    It stays the same module, with the same names. Copies of it are not compiled, and it runs as it is in evaluation
    mode, where images have any size; where a loss on gradients may follow, as compiled graphs have one derivative only;
    and, after a warning, when it cannot be compiled.

    Args:
        name: The model's name of it, such as ``g``, for the log.
        net: The network, possibly wrapped.
    """
    target = bare(net)
    # A second size gets a graph of its own rather than one of any size, so that what is computed does not depend on
    # what sizes came before. Random draws are those of the network as it is.
    how: dict[str, Any] = {"options": {"fallback_random": True}} if BACKEND == "inductor" else {}
    target.compile(backend=BACKEND, fullgraph=True, dynamic=False, **how)
    _prepare()
    compiled = target._compiled_call_impl
    assert compiled is not None  # compile has set it
    target._compiled_call_impl = TrainingCall(name, target, compiled)


def release_network(net: nn.Module) -> None:
    """Undoes :func:`compile_network`."""
    bare(net)._compiled_call_impl = None


def _prepare() -> None:
    """Settings of PyTorch that compiled networks here need, and warnings of its that are meant for its developers."""
    import torch._functorch.config as config

    # A backward pass runs although its graph is kept, as it is where another network is not compiled.
    if hasattr(config, "donated_buffer"):
        config.donated_buffer = False
    warnings.filterwarnings("ignore", "Torchinductor does not support code generation for complex")
    warnings.filterwarnings("ignore", "Dynamo detected a call to a `functools.lru_cache`")


class Compilation:
    """Which networks of a model run compiled, as ``train.compile`` or, if it asks for the same, a checkpoint says.

    Args:
        asked: ``False``, ``critics``, ``all`` or ``auto``.

    Attributes:
        chosen: Names of the networks; ``None`` until it is known.
    """

    def __init__(self, asked: bool | str) -> None:
        self.asked = asked
        self.chosen: list[str] | None = None
        self._has_begun = False

    @property
    def is_open(self) -> bool:
        """Whether networks are to be measured before it is known which of them run compiled."""
        return self.asked == "auto" and self.chosen is None

    def begin(self, nets: Mapping[str, nn.Module], device: torch.device, measures: bool = True) -> None:
        """Compiles what is asked for, once; a network's graph is made when it is called.

        Args:
            nets: The model's networks by name; the generator is ``g``.
            device: Where they run.
            measures: Whether the model's step chooses networks where that is open.
        """
        if self._has_begun or not self.asked or (self.is_open and measures):
            return
        self._has_begun = True
        if self.is_open:
            chosen, why = [], "only this package's step measures; name critics or all"
        elif self.chosen is not None:
            chosen, why = [name for name in self.chosen if name in nets], "none was chosen"
        else:
            chosen, why = [name for name in nets if self.asked == "all" or name != "g"], "there are no critics"
        if chosen and (obstacle := find_obstacle(device.type)):
            chosen, why = [], f"nothing can be compiled here: {obstacle}"
        self.chosen = chosen
        if not chosen:
            logger.warning("train.compile: %s: networks run as they are (%s).", self.asked, why)
            return
        for name in chosen:
            compile_network(name, nets[name])
        text = "Networks that train compiled: %s. Each is compiled when it first runs, and anew for other sizes."
        logger.info(text, ", ".join(f"net_{name}" for name in chosen))

    def state(self, nets: Mapping[str, nn.Module]) -> dict[str, Any]:
        """What a checkpoint keeps: a run that goes on with the same option compiles the same networks."""
        if self._has_begun:
            self.chosen = [name for name, net in nets.items() if is_compiled(net)]
        return {"asked": self.asked, "networks": self.chosen}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Takes what :meth:`state` gave, before :meth:`begin`; with another option of now that holds."""
        if state.get("asked") == self.asked:
            self.chosen = state["networks"]


@dataclass
class TrainingCall:
    """What calls of a compiled network are: the compiled graph where that can serve, else the network as it is."""

    name: str
    net: nn.Module
    compiled: Callable[..., Any]
    _has_told: bool = False

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if not self.net.training:
            return self.net._call_impl(*args, **kwargs)
        if self._may_be_differentiated_twice(args):
            if not self._has_told:
                self._has_told = True
                text = "net_%s runs as it is where a loss on gradients may follow: compiled graphs have one derivative."
                logger.info(text, self.name)
            return self.net._call_impl(*args, **kwargs)
        try:
            return self.compiled(*args, **kwargs)
        except torch.cuda.OutOfMemoryError:
            raise
        except Exception as error:
            # What is wrong with the call itself is raised here.
            result = self.net._call_impl(*args, **kwargs)
            release_network(self.net)
            reason = f"{type(error).__name__}: {first_line(error)}"
            logger.warning("net_%s is not compiled from here: %s", self.name, reason)
            return result

    def _may_be_differentiated_twice(self, args: Iterable[Any]) -> bool:
        may_be = any(isinstance(arg, Tensor) and needs_double_backward(arg, arg) for arg in args)
        return may_be and any(parameter.requires_grad for parameter in self.net.parameters())
