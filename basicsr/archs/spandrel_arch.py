"""Architectures of the package ``spandrel`` as generators: ``spandrel/DAT`` and the like, and ``spandrel`` for a file.

Parameters and buffers keep their published names, so that weights go both ways. Spandrel is imported when a block asks
for it. https://github.com/chaiNNer-org/spandrel
"""

from __future__ import annotations

import difflib
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import torch
from torch import nn

from basicsr.archs.spandrel_fit import fit
from basicsr.utils.errors import ArgumentError, UserError, WeightsError, first_line
from basicsr.utils.registry import ARCH_REGISTRY, UnknownNameError

PREFIX = "spandrel"
INSTALL = "pip install 'spandrel>=0.4'"

REFUSED = {
    "GFPGAN": "restores faces that are cut out and aligned, 512 pixels wide, by a StyleGAN2 trained before",
    "LaMa": "fills in what a mask hides, and training gives it no mask",
    "RestoreFormer": "restores faces that are cut out and aligned, with a dictionary of facial features trained before",
}
"""Architectures that training pairs of images cannot train, and why."""

_FACTORS = re.compile("ffn_")
"""Arguments whose default is an integer but which take any number."""


def import_spandrel() -> ModuleType:
    """The package.

    Raises:
        UnknownNameError: If it is not installed; the message says how to.
    """
    try:
        import spandrel
    except ImportError as error:
        raise UnknownNameError(f"this needs the package spandrel, which is not installed: {INSTALL}") from error
    return spandrel


@contextmanager
def _silent() -> Iterator[None]:
    """Hides Python's warnings about what spandrel's code does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


# --- names and arguments ----------------------------------------------------------------------------------------------


class Architectures:
    """Spandrel's architectures by the names of their classes; one of several classes has several names."""

    @staticmethod
    @cache
    def _classes() -> dict[str, tuple[str, type[nn.Module]]]:
        """Identifier of the architecture and class, by name."""
        found: dict[str, tuple[str, type[nn.Module]]] = {}
        for support in import_spandrel().MAIN_REGISTRY.architectures("insertion"):
            architecture = support.architecture
            module = vars(sys.modules[type(architecture).__module__])
            for name in module.get("__all__", module):
                if inspect.isclass(module[name]) and issubclass(module[name], nn.Module):
                    found[name] = (architecture.id, module[name])
        return found

    def names(self) -> list[str]:
        if find_spec(PREFIX) is None:
            return []
        return sorted(self._classes().keys() - REFUSED.keys())

    def find(self, name: str) -> Callable[..., nn.Module]:
        classes = self._classes()
        if name in REFUSED:
            raise UnknownNameError(f"{PREFIX}/{name} cannot be trained here: it {REFUSED[name]}")
        if name in classes:
            return _constructor(name)
        # The nearest names, upper and lower case alike; an architecture of several classes has none of its own.
        lower = {known.lower(): known for known in self.names()}
        near = [known for known, (identifier, _) in classes.items() if identifier == name]
        near += [lower[key] for key in difflib.get_close_matches(name.lower(), lower, n=3, cutoff=0.6) if not near]
        hint = f"did you mean {' or '.join(f'{PREFIX}/{known}' for known in near)}?" if near else ""
        hint = hint or f"known after {PREFIX}/: {', '.join(self.names())}"
        raise UnknownNameError(f"unknown {ARCH_REGISTRY.name} '{PREFIX}/{name}'; {hint}")


ARCH_REGISTRY.add_source(PREFIX, Architectures())


@cache
def _constructor(name: str) -> Callable[..., nn.Module]:
    """What ``spandrel/NAME`` stands for: the class's own arguments with types, and a network that is fitted."""
    kind: Any = Architectures._classes()[name][1]

    def build(**arguments: Any) -> nn.Module:
        try:
            # Checks build networks without memory; what spandrel reads from this one needs its values.
            with torch.device("cpu"), _silent():
                return fit(kind(**arguments), name, f"{PREFIX}/{name}")
        except UserError:
            raise
        except Exception as error:  # whatever arguments that do not fit together lead to
            reason = f"{type(error).__name__}: {first_line(error)}"
            sizes = {parameter.name: parameter.default for parameter in parameters} | arguments
            image, window = sizes.get("img_size"), sizes.get("window_size")
            if isinstance(image, int) and isinstance(window, int) and window > 0 and image % window:
                reason = f"its img_size {image} is not divisible by its window_size {window}"
                raise ArgumentError("window_size", f"{PREFIX}/{name} cannot be built: {reason}") from error
            raise UserError(f"{PREFIX}/{name} cannot be built of these arguments ({reason})") from error

    parameters = list(_typed_parameters(kind))
    build.__name__ = build.__qualname__ = name
    build.__module__ = kind.__module__
    build.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    build.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    # "name (type): text. Default: 4" becomes "name: text."
    text = re.sub(r"^( +\w+) ?\([^\n]*?\):", r"\1:", inspect.getdoc(kind) or "", flags=re.MULTILINE)
    arguments = re.search(r"^Args:\n.*?(?=^\S|\Z)", text, re.MULTILINE | re.DOTALL)
    build.__doc__ = (
        f"{name} of the package spandrel.\n\n{re.sub(r' *Default:.*', '', arguments[0]) if arguments else ''}"
    )
    build.measures_scale = True  # type: ignore[attr-defined]
    return build


def _typed_parameters(kind: type[nn.Module]) -> Iterator[inspect.Parameter]:
    """The parameters of a constructor that an option file can set; where no type is given, the default tells it."""
    hints = get_type_hints(kind.__init__)
    for parameter in inspect.signature(kind).parameters.values():
        default, annotation = parameter.default, hints.get(parameter.name, Any)
        if default is not parameter.empty and callable(default):
            continue  # a layer's class
        if annotation in (Any, list, tuple) and default not in (None, parameter.empty):
            annotation = float | int if _FACTORS.match(parameter.name) else _type_of(default)
        yield parameter.replace(annotation=annotation)


def _type_of(default: Any) -> Any:
    """The type of a default value; of lists, that of their items."""
    if not isinstance(default, (list, tuple)):
        return type(default)
    return Sequence[type(default[0])] if default else Sequence  # type: ignore[misc]


# --- a file -----------------------------------------------------------------------------------------------------------


class WeightsArgumentError(ArgumentError, WeightsError):
    """A weights file that is an argument and cannot be taken."""


@ARCH_REGISTRY.register(name=PREFIX)
def build_from_file(weights: str) -> nn.Module:
    """Whatever network the package spandrel recognises in a weights file, with these weights.

    Args:
        weights: The file; of `params` and `params_ema` spandrel takes the latter.

    Raises:
        WeightsArgumentError: If spandrel or the file is not there, or it does not recognise a generator in it.
    """
    path = Path(weights).expanduser()
    spandrel = import_spandrel()
    if not path.is_file():
        raise WeightsArgumentError("weights", f"there is no weights file {weights}; put it there or change the path")
    try:
        with torch.device("cpu"), _silent():
            descriptor = spandrel.ModelLoader("cpu").load_from_file(path)
            if descriptor.architecture.id not in REFUSED:
                name = type(descriptor.model).__name__
                net = fit(descriptor.model, name, f"{path}: the {name}", descriptor)
                net.titles = (descriptor.architecture.name, descriptor.architecture.id)
                return net
    except UserError:
        raise
    except Exception as error:
        reason = str(error) and f" ({first_line(error)})"
        raise WeightsArgumentError("weights", f"spandrel does not recognise a network in {weights}{reason}") from error
    name = descriptor.architecture.id
    raise WeightsArgumentError("weights", f"{weights} holds a {name}, which cannot be trained here: it {REFUSED[name]}")


build_from_file.measures_scale = build_from_file.brings_weights = True  # type: ignore[attr-defined]
