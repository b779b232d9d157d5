"""Any model by one name: our weights, published ones, what spandrel recognises, baselines, or a folder of results."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.analysis.arguments import split_label
from basicsr.analysis.experiments import describe_file, list_option_files, read_option_file
from basicsr.analysis.images import list_images
from basicsr.archs import build_network
from basicsr.archs.spandrel_arch import INSTALL
from basicsr.evaluation.dataset_images import KERNELS, enlarge
from basicsr.evaluation.tiling import size_multiple, tiled_forward
from basicsr.utils.errors import DataError, UserError, WeightsError, first_line
from basicsr.weights import load_weights, locate_weights, read_weights
from basicsr.weights.architectures import recognise
from basicsr.weights.files import SUFFIXES, read_metadata
from basicsr.weights.published import PUBLISHED

logger = logging.getLogger("basicsr")


@dataclass(frozen=True)
class Generator:
    """A model that enlarges images.

    Attributes:
        name: Label for tables and legends.
        scale: Its factor.
        run: (B, 3, H, W) float32 RGB in [0, 1] -> (B, 3, H·scale, W·scale) in the same range.
        origin: What it is, for the records of results.
    """

    name: str
    scale: int
    run: Callable[[Tensor], Tensor]
    origin: Mapping[str, Any] = field(default_factory=dict)

    @torch.inference_mode()
    def __call__(self, lq: Tensor) -> Tensor:
        return self.run(lq).float().clamp(0, 1)


@dataclass(frozen=True)
class ReadyResults:
    """A folder of images that a model made earlier.

    Attributes:
        name: Label for tables and legends.
        files: Its images by file name without suffix.
        origin: What it is, for the records of results.
    """

    name: str
    files: Mapping[str, Path]
    origin: Mapping[str, Any] = field(default_factory=dict)

    def find(self, name: str) -> Path:
        """Finds the result for an image: the same name, or the only one that continues it (``baboon_x4.png``).

        Raises:
            DataError: If there is none, or more than one.
        """
        stem = Path(name).stem
        if stem in self.files:
            return self.files[stem]
        continued = re.compile(re.escape(stem) + r"([^0-9A-Za-z]|x\d)")
        near = [path for other, path in self.files.items() if continued.match(other)]
        if len(near) != 1:
            found = ", ".join(path.name for path in near) or "none"
            raise DataError(f"{self.name}: expected one result that is named {stem} or {stem}_…; found {found}")
        return near[0]


Model = Generator | ReadyResults


def load_generator(
    spec: str,
    scale: int | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    family: str | None = None,
    param_key: str | None = None,
    device: torch.device | str = "cpu",
) -> Model:
    """Loads a model, checks that it enlarges three-channel images by the expected factor, and names it.

    Args:
        spec: ``[LABEL=]WHAT`` where WHAT is ``bicubic``, ``lanczos``, a weights file, the name of published weights, or
            a folder of ready results; a path may have ``=`` in it (see
            :func:`~basicsr.analysis.arguments.split_label`).
        scale: Expected factor; needed for the baselines, otherwise checked when given.
        options: Option file as a mapping; its ``network_g`` is the architecture of the weights file. By default the one
            in the run's folder is used when the file lies in ``experiments/<name>/models``.
        family: What the architecture's name begins with (``RRDB``, ``SwinIR``). Without an option file it is told by
            the weights, and what this package does not know is left to spandrel, which has names of its own.
        param_key: ``params`` or ``params_ema``; by default the averaged weights where there are any. Of files that are
            left to spandrel, it takes what it finds.
        device: Where the model runs.

    Raises:
        UserError: If the specification is wrong, or the model's scale or channels do not fit.
        DataError: If a results folder is empty.
        WeightsError: If the file cannot be read or does not fit the architecture.
    """
    label, what = split_label(spec)
    if what in KERNELS:
        if scale is None:
            raise UserError(f"{what} needs a scale; give --scale")
        return Generator(label or what, scale, partial(enlarge, scale=scale, kernel=what), {"kernel": what})
    path = Path(what)
    if path.is_dir():
        files = {file.stem: file for file in list_images(path)}
        return ReadyResults(label or path.resolve().name, files, {"path": str(path.absolute())})
    if what in PUBLISHED:
        path = locate_weights(what)
    elif path.suffix not in SUFFIXES:
        kinds = f"{', '.join(KERNELS)}, a weights file ({', '.join(SUFFIXES)}), the name of published weights"
        raise UserError(f"no such model: {what!r}; expected {kinds} (docs/weights.md) or a folder of results")
    state = read_weights(path, param_key, prefer="params_ema")
    options = find_options(path) if options is None else options
    block = find_network(path, state, options)
    if block is not None:
        names = [str(block.get("type"))]
    else:
        if param_key is not None:
            logger.warning("%s: --param_key does not apply, because spandrel chooses the weights", path)
        net = _load_with_spandrel(path, device)
        # spandrel calls RRDBNet ESRGAN and SRVGGNetCompact Compact: the name of the class will do, too.
        names = [net.architecture.name, net.architecture.id, type(net.model).__name__]
    if family is not None and not any(name.lower().startswith(family.lower()) for name in names):
        raise WeightsError(f"{path}: holds a {names[0]}, not a {family}; change --model or the file")

    # Load the weights, and try the network.
    if block is not None:
        net = build_network(block).to(device)
        load_weights(net, state, source=str(path))
    expected = scale or (options or {}).get("scale")
    found = _check_network(net.eval(), what, expected and int(expected), device)
    # Without tiles, this extends images to the sides that a network with a pixel-unshuffle takes.
    whole = partial(tiled_forward, partial(_run_network, net), tile=None, scale=found, multiple=size_multiple(net))
    return Generator(label or path.stem, found, whole, {**describe_file(path), "param_key": param_key})


def find_options(path: Path) -> dict[str, Any] | None:
    """The option file that weights in ``experiments/<name>/models`` were trained with; None without the one."""
    run = path.absolute().parent
    option_files = list_option_files(run.parent) if run.name == "models" else []
    if len(option_files) != 1:
        return None
    logger.info("%s: architecture from %s", path, option_files[0])
    return read_option_file(option_files[0])


def find_network(path: Path, state: Mapping[str, Tensor], options: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """The ``network_g`` block of weights: as the options have it, as the file itself says, or as the weights tell."""
    if options is not None:
        return options.get("network_g")
    said = read_metadata(path).get("architecture")
    return json.loads(said) if said else recognise(state)


def _load_with_spandrel(path: Path, device: torch.device | str) -> Any:
    """What spandrel recognises in a weights file: a descriptor, called like a network.

    Raises:
        WeightsError: If spandrel is not installed or does not recognise it.
    """
    try:
        import spandrel

        return spandrel.ModelLoader(device=torch.device(device)).load_from_file(path)
    except ImportError as error:
        name_it = "name the option file it was trained with (--opt FILE.yml)"
        install = f"install the package that recognises other people's models: {INSTALL}"
        raise WeightsError(f"{path}: the architecture is not known; {name_it}, or {install}") from error
    except Exception as error:
        # The other lines are lists of the names of weights.
        reason = f"not recognised by spandrel ({first_line(error)})"
        raise WeightsError(f"{path}: {reason}; name its option file with --opt") from error


def _run_network(net: Callable[[Tensor], Any], lq: Tensor) -> Tensor:
    """The image that a network makes of (B, 3, H, W)."""
    output = net(lq)
    # SPSRNet returns (gradient branch, image, gradient of the input).
    return output[1] if isinstance(output, (tuple, list)) else output


@torch.inference_mode()
def _check_network(net: Callable[[Tensor], Any], what: str, expected: int | None, device: torch.device | str) -> int:
    """Runs the network on a small warm-to-cold ramp; returns its scale."""
    ramp = torch.linspace(0.2, 0.8, 16, device=device).expand(16, 16)
    probe = torch.stack([ramp, ramp.T * 0.5, 1 - ramp])[None]
    try:
        output = _run_network(net, probe)
    except (RuntimeError, TypeError, ValueError) as error:
        raise UserError(f"{what}: does not run on an RGB image of 16x16 pixels: {error}") from error
    channels, height, width = output.shape[-3:]
    if channels != 3 or height != width or height % 16:
        raise UserError(f"{what}: made {channels} channels of {width}x{height} pixels from 3 channels of 16x16")
    found = height // 16
    if expected is not None and found != expected:
        raise UserError(f"{what}: enlarges by {found}, expected scale {expected}; change --scale or the model")
    if channels_look_swapped(output, probe):
        logger.warning("%s: red and blue look swapped in its output; was it trained on BGR images?", what)
    return found


def channels_look_swapped(result: Tensor, reference: Tensor) -> bool:
    """Whether an image resembles another only once its red and blue channels are exchanged.

    Args:
        result: (B, 3, H, W) in [0, 1].
        reference: (B, 3, h, w) in [0, 1]; any size.
    """
    small = [nn.functional.adaptive_avg_pool2d(x.float(), 8) for x in (result, reference)]
    as_is = float((small[0] - small[1]).abs().mean())
    swapped = float((small[0].flip(1) - small[1]).abs().mean())
    return swapped < 0.05 and as_is > 3 * swapped + 0.02
