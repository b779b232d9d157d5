"""A metric of an option block: what it measures, which values are better, and its protocol in words.

A metric is one registered function with BasicSR's signature, ``calculate_x(img, img2, crop_border, …)`` on 8-bit BGR
arrays. :func:`register_metric` gives it a direction, a protocol and, where it has one, a function on batches, which
validation prefers. Of a function that is registered without a direction, option files for training have to state it.
"""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import Any, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from basicsr.metrics.metric_util import check_pair, prepare_batch
from basicsr.spectral.transforms import rgb_to_luma
from basicsr.utils.batch import to_floats
from basicsr.utils.errors import ArgumentError, UserError, first_line
from basicsr.utils.fields import suggest
from basicsr.utils.images import planes_to_image
from basicsr.utils.img_util import img2tensor
from basicsr.utils.parts import declares_any, names_of
from basicsr.utils.registry import METRIC_REGISTRY

F = TypeVar("F", bound=Callable[..., Any])
Direction = Literal["higher", "lower"]


class Unmeasurable(ValueError):
    """A metric cannot be taken of these images, as the message says: too small, too little texture, not of one size."""


def register_metric(
    better: Direction,
    protocol: Callable[[Mapping[str, Any]], str],
    measure: Callable[..., Tensor] | None = None,
    check_weights: Callable[[Mapping[str, Any]], None] | None = None,
    compare: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Callable[[F], F]:
    """Registers a metric function; the arguments become its attributes of the same names.

    Args:
        better: Which direction is better.
        protocol: Turns the function's options, defaults filled in, into one line of text.
        measure: The same metric of RGB batches of 8-bit levels on any device; takes the function's options but for
            ``input_order`` and returns ``(B,)``.
        check_weights: Raises :class:`~basicsr.weights.obtaining.NotHereError` if weights that such options
            need are not on this machine; fetches nothing.
        compare: The same metric of two batches as :func:`~basicsr.metrics.metric_util.prepare_batch` makes them with
            all of the function's options; metrics that have it share them.
    """

    def register(function: F) -> F:
        vars(function).update(better=better, higher_is_better=better == "higher", protocol=protocol, measure=measure)
        vars(function).update(check_weights=check_weights, compare=compare)
        vars(function)["needs_reference"] = "img2" in inspect.signature(function).parameters
        return METRIC_REGISTRY.register(function)

    return register


class Levels:
    """Images with 8 bit: what is measured, and what would be saved. Either form is made when something asks for it.

    Args:
        images: RGB or gray, ``(B, C, H, W)``: floats in [0, 1] and uint16 are rounded, uint8 is taken as it is. Or one
            finished picture, (H, W, 3) BGR or (H, W), uint8.
        device: Where a picture is measured.
        is_gray: Whether they come from gray files, and have three equal channels for the network's sake alone.
    """

    def __init__(self, images: Tensor | np.ndarray, device: torch.device | None = None, is_gray: bool = False) -> None:
        self.device, self.is_gray = device, is_gray
        self._prepared: dict[tuple[tuple[str, Any], ...], Tensor] = {}
        if isinstance(images, np.ndarray):
            self.arrays = [images]
        else:
            is_rounded = images.dtype == torch.uint8
            # The copy that clamp makes can be changed in place.
            floats = images if is_rounded else to_floats(images.detach()).float().clamp(0, 1)
            self.batch = images if is_rounded else floats.mul_(255).round_().byte()

    @cached_property
    def batch(self) -> Tensor:
        """``(B, C, H, W)`` uint8, on the images' device."""
        return img2tensor(self.arrays[0], float32=False)[None].to(self.device)

    @cached_property
    def arrays(self) -> list[np.ndarray]:
        """Each image as (H, W, 3) BGR or (H, W)."""
        return [_as_array(image) for image in self.batch.cpu().numpy()]

    @cached_property
    def gray(self) -> Levels:
        """The images as one channel: full-range BT.601 luma, rounded; of three equal channels one of them."""
        return Levels(rgb_to_luma(self.batch.float()).round().to(torch.uint8))

    def prepare(self, **options: Any) -> Tensor:
        """What :func:`~basicsr.metrics.metric_util.prepare_batch` makes of them, kept for the next metric."""
        key = tuple(sorted(options.items()))
        if key not in self._prepared:
            self._prepared[key] = prepare_batch(self.batch, **options)
        return self._prepared[key]

    def forget(self) -> None:
        """Lets go of what was kept for metrics, which has many times the size of the images."""
        self._prepared.clear()

    def digest(self) -> str:
        """16 hexadecimal digits that tell the sizes and levels of the images."""
        digest = hashlib.sha256()
        for array in self.arrays:
            digest.update(repr(array.shape).encode())
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()[:16]

    @property
    def is_flat(self) -> Tensor:
        """Whether each image has one colour: a truth value on the images' device."""
        return (self.batch == self.batch[..., :1, :1]).all()


def _as_array(planes: np.ndarray) -> np.ndarray:
    """(H, W, C), three channels as BGR, or (H, W), of (C, H, W)."""
    return planes[0] if len(planes) == 1 else planes_to_image(planes, reverse=len(planes) == 3)


class Metric:
    """A registered metric with the options of a block.

    Args:
        opt: The block: ``type``, the metric's options and, where it differs from the metric's own, ``better``.

    Attributes:
        name: The name in the registry.
        options: The keyword arguments that the block gives.
        better: ``higher`` or ``lower``.
        needs_reference: Whether it compares with a reference image.
        protocol: One line that says how a number was measured (crop, channel, bit depth), to stand next to it.

    Raises:
        UserError: If the type or an option is unknown; the message gives the nearest name.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.function, self.options = METRIC_REGISTRY.resolve(opt)
        self.name = str(opt["type"])
        self.better = str(self.options.pop("better", None) or getattr(self.function, "better", "higher"))
        parameters = inspect.signature(self.function).parameters
        known = names_of(self.function) - {"img", "img2"}
        for key in self.options if not declares_any(self.function) else ():
            if key not in known:
                raise UserError(f"{self.name} has no option {key!r}{suggest(key, known)}")
        self.needs_reference = "img2" in parameters
        describe = getattr(self.function, "protocol", lambda options: f"{self.name} with {options}")
        defaults = {key: p.default for key, p in parameters.items() if p.default is not inspect.Parameter.empty}
        self.protocol = str(describe({**defaults, **self.options}))

    def calculate(self, img: Any, img2: Any = None, **others: Any) -> Any:
        """Calls the registered function; returns a float for functions on arrays, ``(B,)`` for those on tensors.

        Raises:
            ValueError: If the images do not fit, or the reference is missing.
        """
        if self.needs_reference and img2 is None:
            raise ValueError(f"{self.name} compares with a reference image (img2), and none was given")
        images = {"img": img, "img2": img2} if self.needs_reference else {"img": img}
        return self.function(**images, **others, **self.options)

    def measure(self, sr: Levels, gt: Levels | None = None) -> Tensor:
        """Measures a batch on its device, or image by image where the metric has no function on batches.

        With the option ``matlab``, images whose reference comes from a gray file are measured as gray.

        Returns:
            ``(B,)`` float64.

        Raises:
            Unmeasurable: If the metric refuses the images by a ``ValueError``.
            UserError, ArgumentError: As the metric raises them: options and files are at fault, not the images.
        """
        try:
            if self.options.get("matlab") and gt is not None and gt.is_gray:
                sr, gt = sr.gray, gt.gray
            return self._measure(sr, gt)
        except (UserError, ArgumentError):
            raise
        except ValueError as error:
            raise Unmeasurable(first_line(error)) from error

    def _measure(self, sr: Levels, gt: Levels | None) -> Tensor:
        batches = [sr.batch, *([] if gt is None else [gt.batch])][: 1 + self.needs_reference]
        measure = getattr(self.function, "measure", None)
        if measure is None or len(batches) <= self.needs_reference:
            references = [None] * len(sr.batch) if gt is None else gt.arrays
            values = [float(self.calculate(*pair)) for pair in zip(sr.arrays, references)]
            return torch.tensor(values, dtype=torch.float64, device=sr.batch.device)
        options = {key: value for key, value in self.options.items() if key != "input_order"}
        compare = getattr(self.function, "compare", None)
        if compare is not None and gt is not None:
            check_pair(*batches)
            return compare(sr.prepare(**options), gt.prepare(**options)).double()
        return measure(*batches, **options).double()


def calculate_metric(data: Mapping[str, Any], opt: Mapping[str, Any]) -> Any:
    """Calls the metric that an option block names.

    Args:
        data: ``img``, the image, and ``img2``, its reference (left out for metrics without one).
        opt: The block, see :class:`Metric`. Not modified.

    Returns:
        What the metric returns: a float for functions on arrays, a tensor ``(B,)`` for those on tensors.

    Raises:
        UserError: If the type or an option is unknown.
        ValueError: If the images do not fit, or the reference is missing.
    """
    return Metric(opt).calculate(**data)
