"""Models that enlarge pictures, in Python: ``model = load_model("NAME"); image = model(image)``."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from numpy.typing import DTypeLike
from torch import Tensor

from basicsr.analysis.arguments import resolve_device
from basicsr.evaluation.tiling import tiled_pictures
from basicsr.upscaling.networks import AVERAGES, PRECISIONS, Ensemble, load_ensemble
from basicsr.upscaling.pictures import Picture
from basicsr.upscaling.resizing import resize_picture
from basicsr.upscaling.tiles import HIGH_COST, TilePlanner
from basicsr.utils.errors import DataError, check_choice, first_line, is_out_of_memory
from basicsr.utils.images import FULL_SCALE

logger = logging.getLogger("basicsr")

DEFAULT_MODEL = "faithful"
_PIL_MODES = {"L": 1, "LA": 2, "RGB": 3, "RGBA": 4}

Image = TypeVar("Image")
OnTile = Callable[[int, int], None]


def load_model(
    model: str | os.PathLike[str] | Sequence[str | os.PathLike[str]] = DEFAULT_MODEL,
    *,
    scale: float | None = None,
    tile: int | str = "auto",
    device: str = "auto",
    precision: str = "fp32",
    average: str = "outputs",
    tta: bool = False,
    sharpen_alpha: bool = False,
) -> Upscaler:
    """Loads what enlarges pictures.

    Args:
        model: A weights file of any known layout and architecture, a run (its folder or name), the name of a built-in
            or published network, or several of these, which are averaged.
        scale: Output pixels per input pixel along each axis; by default the network's.
        tile: Side of tiles in input pixels; ``auto`` chooses by the memory that is free, 0 passes whole pictures.
        device: ``cpu``, ``cuda``, ``cuda:1`` …; ``auto`` takes a GPU if there is one.
        precision: ``fp32``, ``bf16`` or ``fp16``.
        average: Average several models in their ``outputs`` or in their ``weights``.
        tta: Average over the eight flips and transposes of the picture, too, which takes eight times as long.
        sharpen_alpha: Enlarge alpha by the network, not by bicubic interpolation.

    Raises:
        UserError: If a model is missing, cannot be read, or does not fit.
    """
    models = [model] if isinstance(model, (str, os.PathLike)) else list(model)
    check_choice("precision", precision, PRECISIONS)
    check_choice("average", average, AVERAGES)
    net = load_ensemble([os.fspath(one) for one in models], resolve_device(device), precision, average, tta)
    return Upscaler(net, scale, None if tile == "auto" else int(tile), sharpen_alpha)


class Upscaler:
    """Enlarges pictures.

    Args:
        net: The network or networks.
        scale: Output pixels per input pixel; by default the network's.
        tile: Side of tiles; ``None`` chooses, 0 passes whole pictures.
        sharpen_alpha: Enlarge alpha by the network.

    Attributes:
        scale: Output pixels per input pixel.
        note: What is to be said of the last pictures, or nothing.
    """

    def __init__(
        self, net: Ensemble, scale: float | None = None, tile: int | None = None, sharpen_alpha: bool = False
    ) -> None:
        if scale is not None and not 0 < scale <= 64:
            raise ValueError(f"scale must be above 0 and at most 64, got {scale}")
        if tile is not None and tile < 0:
            raise ValueError(f"tile must not be negative, got {tile}")
        self.net, self.scale, self.sharpen_alpha = net, scale or net.scale, sharpen_alpha
        self.planner = TilePlanner(net, tile)
        self.note = ""
        self._costs_said: set[int | None] = set()

    def __call__(self, image: Image) -> Image:
        """Enlarges one image; the result is of the same kind.

        Args:
            image: An array (H, W) or (H, W, C) of uint8, uint16 or float in [0, 1], with C 1 (gray), 2 (gray, alpha), 3
                (RGB) or 4 (RGB, alpha); a picture of Pillow; or a tensor (C, H, W) or (B, C, H, W), C 1 or 3, float in
                [0, 1].

        Returns:
            The same kind and type, ``round(H * scale)`` by ``round(W * scale)``; a tensor on the image's device.

        Raises:
            TypeError: If it is none of these.
            DataError: If memory runs out.
        """
        if isinstance(image, Tensor):
            return self._enlarge_tensor(image)  # type: ignore[return-value]
        if isinstance(image, np.ndarray):
            return self._enlarge_array(image)  # type: ignore[return-value]
        from PIL import Image as pillow

        if isinstance(image, pillow.Image):
            return self._enlarge_pillow(image)
        raise TypeError(f"expected an array, a tensor or a picture of Pillow, got {type(image).__name__}")

    def enlarge_pictures(
        self, pictures: Sequence[Picture], on_tile: OnTile = lambda done, total: None
    ) -> list[Picture]:
        """Enlarges pictures of one shape and type at once; what their files say of them is kept.

        Args:
            pictures: The pictures.
            on_tile: Told after each tile how many are done, and of how many.

        Raises:
            DataError: If memory runs out, even for tiles of half the size.
        """
        self.note = ""
        alphas = [picture.alpha for picture in pictures]
        colours = [picture.colours for picture in pictures]
        colours = [c if a is None else fill_transparent(c, a) for c, a in zip(colours, alphas)]
        dtype = colours[0].dtype
        stacked = np.stack(colours) if len(colours) > 1 else colours[0][None]
        made = self._enlarge(stacked, dtype, on_tile, spare=int(alphas[0] is not None))
        for pixels, alpha in zip(made, alphas):
            if alpha is not None:
                self._enlarge_alpha(alpha, pixels[..., -1:])
        return [Picture(pixels, one.metadata, one.suffix) for pixels, one in zip(made, pictures)]

    def fingerprint(self) -> str:
        """A digest of all that results depend on, but for rounding."""
        return f"{self.net.fingerprint()} {self.scale}"

    # --- kinds of images ----------------------------------------------------------------------------------------------

    def _enlarge_array(self, image: np.ndarray) -> np.ndarray:
        if image.ndim not in (2, 3) or (image.ndim == 3 and not 1 <= image.shape[2] <= 4) or 0 in image.shape:
            raise TypeError(f"expected an image (H, W) or (H, W, 1 to 4), got shape {image.shape}")
        if image.dtype not in FULL_SCALE and not np.issubdtype(image.dtype, np.floating):
            raise TypeError(f"expected pixels of uint8, uint16 or float in [0, 1], got {image.dtype}")
        pixels = image if image.dtype in FULL_SCALE else image.astype(np.float32)
        (made,) = self.enlarge_pictures([Picture(pixels[..., None] if image.ndim == 2 else pixels)])
        return (made.pixels[..., 0] if image.ndim == 2 else made.pixels).astype(image.dtype, copy=False)

    def _enlarge_pillow(self, image: Any) -> Any:
        from PIL import Image as pillow

        mode = image.mode
        if mode not in _PIL_MODES and not mode.startswith("I;16"):
            mode = "L" if mode == "1" else "RGBA" if "transparency" in image.info or "A" in image.getbands() else "RGB"
            image = image.convert(mode)
        pixels = self._enlarge_array(np.asarray(image))
        made = pillow.fromarray(pixels)
        made.info.update({key: image.info[key] for key in ("icc_profile", "dpi", "exif") if key in image.info})
        return made

    def _enlarge_tensor(self, image: Tensor) -> Tensor:
        if image.ndim not in (3, 4) or image.shape[-3] not in (1, 3) or not image.is_floating_point():
            found = f"{image.dtype} of shape {tuple(image.shape)}"
            raise TypeError(f"expected float images (C, H, W) or (B, C, H, W) with 1 or 3 channels, got {found}")
        batch = image if image.ndim == 4 else image[None]
        pixels = batch.detach().float().permute(0, 2, 3, 1).cpu().numpy()
        made = torch.from_numpy(self._enlarge(pixels, np.float32)).permute(0, 3, 1, 2).to(image)
        return made if image.ndim == 4 else made[0]

    # --- the work -----------------------------------------------------------------------------------------------------

    def _enlarge_alpha(self, alpha: np.ndarray, result: np.ndarray) -> None:
        """Enlarges (H, W) into (height, width, 1); one value throughout stays that value."""
        if alpha.min() == alpha.max():
            result[:] = alpha.flat[0]
        elif self.sharpen_alpha:
            result[:] = self._enlarge(alpha[None, ..., None], alpha.dtype)[0]
        else:
            resize_picture(alpha[..., None], result)

    def _output_size(self, height: int, width: int) -> tuple[int, int]:
        return max(1, round(height * self.scale)), max(1, round(width * self.scale))

    def _enlarge(
        self,
        pixels: np.ndarray,
        dtype: DTypeLike,
        on_tile: OnTile = lambda done, total: None,
        spare: int = 0,
    ) -> np.ndarray:
        """Enlarges (B, H, W, C), C 1 or 3, to the same type or another, with spare channels behind those."""
        # PyTorch wants memory that it could write to, in steps forward.
        fits = pixels.flags.writeable and min(pixels.strides) >= 0
        lq = torch.from_numpy(pixels if fits else pixels.copy("C")).permute(0, 3, 1, 2)
        height, width = lq.shape[-2:]
        size = self._output_size(height, width)
        is_resized = size != (height * self.net.scale, width * self.net.scale)
        # Rounded to 8 bit twice, some pixels would be off by one.
        between = np.dtype(np.uint16) if is_resized and np.dtype(dtype) in FULL_SCALE else np.dtype(dtype)
        made = self._run(lq, between, on_tile, 0 if is_resized else spare)
        if not is_resized:
            return made
        resized = np.empty((len(made), *size, made.shape[3] + spare), dtype)
        for picture, result in zip(made, resized):
            resize_picture(picture, result[..., : made.shape[3]])
        return resized

    def _run(self, lq: Tensor, dtype: DTypeLike, on_tile: OnTile, spare: int) -> np.ndarray:
        """What the network makes of (B, C, H, W), as (B, H, W, C + spare); in smaller tiles if memory has run out."""
        height, width = (length * self.net.scale for length in lq.shape[-2:])
        tile = self.planner.tile
        for is_last in (False, True):
            try:
                with torch.inference_mode():
                    tile = self.planner.choose(lq)
                    self._say_cost(lq, tile)
                    tiler = self.planner.tiler
                    tiler.tile, tiler.on_tile = tile, on_tile
                    made = tiled_pictures(tiler.generate_parts(self.net, lq), height, width, dtype, spare=spare)
                self.note = self.note or tiler.note
                return made
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                failure = first_line(error)
            # Behind the block, where the error no longer holds the tensors of the attempt.
            if not is_last:
                tile = self.planner.halve(lq, tile)
                logger.warning("memory ran out (%s): going on with tiles of %d pixels", failure, tile)
        raise DataError(f"memory ran out even with tiles of {tile} pixels ({failure}); give a smaller --tile")

    def _say_cost(self, lq: Tensor, tile: int | None) -> None:
        """Says once what tiles of a size cost, if that is much."""
        if tile not in self._costs_said and (cost := self.planner.cost(lq, tile)) > HIGH_COST:
            self._costs_said.add(tile)
            logger.warning("tiles of %d pixels: their margins are %.0f%% of additional work", tile, 100 * cost)


def fill_transparent(colours: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Gives fully transparent pixels the colour of the nearest visible one, so that hidden colours do not leak out.

    Args:
        colours: (H, W, C).
        alpha: (H, W).
    """
    visible = alpha > 0
    if visible.all() or not visible.any():
        return colours
    _, labels = cv2.distanceTransformWithLabels(
        (~visible).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    table = np.zeros((int(labels.max()) + 1, colours.shape[2]), colours.dtype)
    table[labels[visible]] = colours[visible]
    return table[labels]
