"""Any model by one name: our weights, published ones, what spandrel recognises, baselines, or a folder of results."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from basicsr.analysis.arguments import split_label
from basicsr.analysis.experiments import (
    describe_file,
    find_weights,
    list_option_files,
    read_option_file,
    resolve_experiment,
)
from basicsr.analysis.images import list_images
from basicsr.archs import build_network
from basicsr.archs.spandrel_arch import build_from_file
from basicsr.evaluation.dataset_images import KERNELS, enlarge
from basicsr.evaluation.tiling import size_multiple, tiled_forward
from basicsr.utils.batch import image_of
from basicsr.utils.errors import DataError, UserError, WeightsError, first_line
from basicsr.utils.fields import suggest
from basicsr.utils.placement import place
from basicsr.utils.registry import UnknownNameError
from basicsr.weights import load_weights, locate_weights, read_weights
from basicsr.weights.architectures import recognise
from basicsr.weights.builtin import BUILTIN
from basicsr.weights.files import SUFFIXES, read_metadata
from basicsr.weights.published import PUBLISHED, explain_absence

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
    if what in PUBLISHED or what in BUILTIN:
        path = locate_weights(what)
    elif path.suffix not in SUFFIXES:
        kinds = f"{', '.join(KERNELS)}, a weights file ({', '.join(SUFFIXES)}), the name of published weights"
        raise UserError(f"no such model: {what!r}; expected {kinds} (docs/weights.md) or a folder of results")
    network = load_network(path, scale, options=options, family=family, param_key=param_key, device=device)
    if network.channels != 3:
        raise UserError(f"{what}: takes and makes images of {network.channels} channel, expected 3 (RGB)")
    # Without tiles, this extends images to the sides that a network with a pixel-unshuffle takes.
    run, multiple = partial(_run_network, network.net), size_multiple(network.net)
    whole = partial(tiled_forward, run, tile=None, scale=network.scale, multiple=multiple)
    return Generator(label or path.stem, network.scale, whole, {**describe_file(path), "param_key": param_key})


class Network(NamedTuple):
    """A network of a weights file, ready to run.

    Attributes:
        net: Maps (B, channels, H, W) in [0, 1] to (B, channels, H * scale, W * scale), or to a tuple whose second entry
            is that; H and W are multiples of its :func:`~basicsr.evaluation.tiling.size_multiple`. On its device, in
            evaluation mode.
        scale: Its factor.
        channels: 3 (RGB) or 1 (gray).
        path: The file.
    """

    net: nn.Module
    scale: int
    channels: int
    path: Path


def find_weights_file(model: str) -> Path:
    """The weights file that a command line names: a file, a run by folder or name, or the name of known weights.

    Of a run the latest generator is taken. Published weights that are not here are fetched.

    Raises:
        WeightsError: If there is none.
    """
    if model in PUBLISHED or Path(model).suffix in SUFFIXES:
        return locate_weights(model)
    try:
        experiment = resolve_experiment(model)
    except UserError as error:
        if model in BUILTIN:
            return locate_weights(model)
        known = [*BUILTIN, *PUBLISHED]
        hint = f"{suggest(model, known)}{explain_absence(Path(f'{model}.pth'))}"
        raise WeightsError(f"{error}, nor is it the name of known weights{hint}") from error
    return find_weights(experiment, "net_g")


def load_network(
    path: Path,
    scale: int | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    family: str | None = None,
    param_key: str | None = None,
    device: torch.device | str = "cpu",
    channels_last: bool | None = None,
) -> Network:
    """Loads the network of a weights file and tries it; the arguments are those of :func:`load_generator`, and
    ``channels_last`` that of :func:`~basicsr.utils.placement.place`.

    Raises:
        UserError: If the network does not make images of its input's channels, or of another scale than expected.
        WeightsError: If the file cannot be read, or its network is not known.
    """
    state = read_weights(path, param_key, prefer="params_ema")
    options = find_options(path) if options is None else options
    block = find_network(path, state, options)
    if block is not None:
        net, names = build_network(block), [str(block.get("type"))]
        load_weights(net, state, source=str(path))
    else:
        if param_key is not None:
            logger.warning("%s: --param_key does not apply, because spandrel chooses the weights", path)
        net = _load_with_spandrel(path)
        # spandrel calls RRDBNet ESRGAN and SRVGGNetCompact Compact: the name of the class will do, too.
        names = [*net.titles, type(net).__name__]
    if family is not None and not any(name.lower().startswith(family.lower()) for name in names):
        raise WeightsError(f"{path}: holds a {names[0]}, not a {family}; change --model or the file")
    net = place(net, device, channels_last).eval()
    expected = scale or (options or {}).get("scale")
    found, channels = _check_network(net, str(path), expected and int(expected), device)
    return Network(net, found, channels, path)


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


def _load_with_spandrel(path: Path) -> Any:
    """What spandrel recognises in a weights file, as a :class:`~basicsr.archs.spandrel_fit.Fitted` network.

    Raises:
        WeightsError: If spandrel is not installed or does not recognise it.
    """
    remedy = "name the option file that it was trained with (--opt FILE.yml, where the command has it)"
    try:
        return build_from_file(str(path))
    except UnknownNameError as error:
        raise WeightsError(f"{path}: the architecture is not known; {remedy}; or {error}") from error
    except WeightsError as error:
        raise WeightsError(f"{error}; {remedy}") from error


def _run_network(net: Callable[[Tensor], Any], lq: Tensor) -> Tensor:
    """The image that a network makes of (B, C, H, W); SPSRNet makes two more."""
    return image_of(net(lq))


@torch.inference_mode()
def _check_network(
    net: Callable[[Tensor], Any], what: str, expected: int | None, device: torch.device | str
) -> tuple[int, int]:
    """Runs the network on a small warm-to-cold ramp; returns its scale and channels."""
    ramp = torch.linspace(0.2, 0.8, 16, device=device).expand(16, 16)
    probe = torch.stack([ramp, ramp.T * 0.5, 1 - ramp])[None]
    errors = []
    for image in (probe, probe[:, :1]):
        try:
            output = _run_network(net, image)
            break
        except (RuntimeError, TypeError, ValueError) as error:
            errors.append(error)
    else:
        raise UserError(f"{what}: does not run on an RGB image of 16x16 pixels: {first_line(errors[0])}")
    given = image.shape[1]
    channels, height, width = output.shape[-3:]
    if channels != given or height != width or height % 16:
        raise UserError(f"{what}: made {channels} channels of {width}x{height} pixels from {given} of 16x16")
    found = height // 16
    if expected is not None and found != expected:
        raise UserError(f"{what}: enlarges by {found}, expected scale {expected}; change --scale or the model")
    if channels == 3 and channels_look_swapped(output, probe):
        logger.warning("%s: red and blue look swapped in its output; was it trained on BGR images?", what)
    return found, channels


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
