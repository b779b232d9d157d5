"""Images between files, OpenCV arrays (H, W, C; BGR) and tensors (C, H, W; RGB)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, overload

import cv2
import numpy as np
import torch
from typing_extensions import Buffer

from basicsr.utils.atomic import StrPath
from basicsr.utils.batch import copy_to_tensor
from basicsr.utils.decoding import FULL_SCALE, decode
from basicsr.utils.images import write_image

Images = TypeVar("Images", np.ndarray, list[np.ndarray])

_READ_FLAGS = {"color": cv2.IMREAD_COLOR, "grayscale": cv2.IMREAD_GRAYSCALE, "unchanged": cv2.IMREAD_UNCHANGED}


@overload
def img2tensor(imgs: np.ndarray, bgr2rgb: bool = True, float32: bool = True) -> torch.Tensor: ...
@overload
def img2tensor(imgs: Sequence[np.ndarray], bgr2rgb: bool = True, float32: bool = True) -> list[torch.Tensor]: ...
def img2tensor(
    imgs: np.ndarray | Sequence[np.ndarray], bgr2rgb: bool = True, float32: bool = True
) -> torch.Tensor | list[torch.Tensor]:
    """Turns arrays into tensors; values keep their range.

    Args:
        imgs: One image (H, W, C) or (H, W), or a sequence of them.
        bgr2rgb: Reverse the channels of images that have three.
        float32: Convert to float32 (float64 always is).

    Returns:
        A contiguous (C, H, W) tensor, or a list of them for a sequence.
    """
    if not isinstance(imgs, np.ndarray):
        return [img2tensor(img, bgr2rgb, float32) for img in imgs]
    img = imgs[:, :, None] if imgs.ndim == 2 else imgs
    if img.ndim != 3:
        raise ValueError(f"expected an image (H, W) or (H, W, C), got shape {img.shape}")
    if bgr2rgb and img.shape[2] == 3:
        img = img[:, :, ::-1]
    dtype = np.float32 if float32 or img.dtype == np.float64 else img.dtype
    return copy_to_tensor(img.transpose(2, 0, 1), dtype)


def tensor2img(
    tensor: torch.Tensor | Sequence[torch.Tensor],
    rgb2bgr: bool = True,
    out_type: type = np.uint8,
    min_max: tuple[float, float] = (0, 1),
) -> Any:
    """Turns tensors into arrays that can be saved or measured.

    Args:
        tensor: (H, W), (C, H, W) or (B, C, H, W), or a sequence of these; a batch of several images becomes one
            picture, ``int(sqrt(B))`` images a row, 2 pixels apart.
        rgb2bgr: Reverse the channels of images that have three.
        out_type: ``np.uint8`` or ``np.uint16`` (scaled to the full range, rounded half to even), or a floating type
            (stays in [0, 1]).
        min_max: Values that become 0 and 1; everything outside is clamped.

    Returns:
        An array (H, W, C), or (H, W) for one channel; a list of these for a sequence of two or more.

    Raises:
        ValueError: For another number of axes or an empty value range.
    """
    if not isinstance(tensor, torch.Tensor):
        images = [tensor2img(item, rgb2bgr, out_type, min_max) for item in tensor]
        return images[0] if len(images) == 1 else images
    # Bring the values to [0, 1].
    low, high = min_max
    if not high > low:
        raise ValueError(f"min_max must be (low, high) with low < high, got {min_max}")
    image = (tensor.detach().squeeze(0).float().cpu().clamp(low, high) - low) / (high - low)
    if image.ndim == 4:
        # Imported here: torchvision is slow to import and only pictures of several images need it.
        from torchvision.utils import make_grid

        image = make_grid(image, nrow=int(math.sqrt(len(image))), normalize=False)
    if image.ndim not in (2, 3):
        raise ValueError(f"expected a tensor (H, W), (C, H, W) or (B, C, H, W), got shape {tuple(tensor.shape)}")
    # Put the channels last, in OpenCV's order.
    if image.ndim == 3:
        image = image.flip(0) if rgb2bgr and len(image) == 3 else image
        image = image.permute(1, 2, 0).squeeze(2)
    # Convert to the type asked for.
    values = image.numpy()
    if np.issubdtype(out_type, np.unsignedinteger):
        values = np.round(values * np.float32(np.iinfo(out_type).max))
    return np.ascontiguousarray(values.astype(out_type))


def tensor2img_fast(tensor: torch.Tensor, rgb2bgr: bool = True, min_max: tuple[float, float] = (0, 1)) -> np.ndarray:
    """Like :func:`tensor2img` for one image, cast on its device; truncates to 8 bit, as published, instead of rounding.

    Args:
        tensor: (1, C, H, W) or (C, H, W).
        rgb2bgr: Reverse the channels if there are three.
        min_max: Values that become 0 and 255.

    Returns:
        (H, W, C) uint8.
    """
    image = tensor.detach().squeeze(0)
    if image.ndim != 3:
        raise ValueError(f"expected one image (C, H, W) or (1, C, H, W), got shape {tuple(tensor.shape)}")
    low, high = min_max
    image = ((image.clamp(low, high) - low) * (255 / (high - low))).permute(1, 2, 0)
    if rgb2bgr and image.shape[2] == 3:
        image = image.flip(2)
    return image.to(torch.uint8).contiguous().cpu().numpy()


def imfrombytes(content: Buffer, flag: str = "color", float32: bool = False) -> np.ndarray:
    """Decodes an image file that is already in memory.

    Args:
        content: The file's bytes, in any object with a buffer: ``bytes``, ``memoryview``, an array of uint8 …
        flag: ``color`` (BGR; alpha is dropped, gray is repeated), ``grayscale`` or ``unchanged``.
        float32: Return float32 in [0, 1]; 16-bit files keep their precision. Otherwise ``color`` and ``grayscale``
            give 8 bits, ``unchanged`` the file's depth.

    Returns:
        (H, W, 3) or (H, W) (``unchanged``: also (H, W, 4)).

    Raises:
        ValueError: For an unknown flag.
        DataError: If the bytes are no image that OpenCV can read, or one that is damaged or cut short.
    """
    if flag not in _READ_FLAGS:
        raise ValueError(f"flag must be one of {', '.join(_READ_FLAGS)}; got {flag!r}")
    deep = cv2.IMREAD_ANYDEPTH if float32 and flag != "unchanged" else 0
    img = decode(bytes(content), "an image in memory", _READ_FLAGS[flag] | deep)
    return img.astype(np.float32) / np.float32(FULL_SCALE.get(img.dtype, 1)) if float32 else img


def imwrite(img: np.ndarray, file_path: StrPath, params: Sequence[int] | None = None, auto_mkdir: bool = True) -> bool:
    """Writes an image; the file is whole or absent, never torn.

    Args:
        img: (H, W, C) in BGR order or (H, W), uint8 or uint16.
        file_path: Where to; the suffix chooses the format.
        params: OpenCV's ``imwrite`` parameters.
        auto_mkdir: Create the folder if it is missing.

    Returns:
        True.

    Raises:
        OSError: If the folder is missing (without ``auto_mkdir``) or the file cannot be encoded or written.
    """
    if not auto_mkdir and not (folder := Path(file_path).parent).is_dir():
        raise OSError(f"folder {folder} does not exist")
    write_image(img, file_path, params or ())
    return True


def crop_border(imgs: Images, crop_border: int) -> Images:
    """Cuts ``crop_border`` pixels off each side of images (H, W) or (H, W, C), given alone or in a list.

    Raises:
        ValueError: If ``crop_border`` is negative or nothing would remain.
    """
    cropped = []
    for img in [imgs] if isinstance(imgs, np.ndarray) else imgs:
        height, width = img.shape[:2]
        if crop_border < 0 or 2 * crop_border >= min(height, width):
            raise ValueError(f"cannot cut {crop_border} pixels off each side of an image of {height}x{width}")
        cropped.append(img[crop_border : height - crop_border, crop_border : width - crop_border])
    return cropped[0] if isinstance(imgs, np.ndarray) else cropped


def mod_crop(img: np.ndarray, scale: int) -> np.ndarray:
    """Cuts the bottom and right so that both sides are multiples of ``scale``.

    Args:
        img: (H, W) or (H, W, C).
        scale: Positive integer.

    Returns:
        A copy of the kept part.

    Raises:
        ValueError: For another number of axes.
    """
    if img.ndim not in (2, 3):
        raise ValueError(f"expected an image with 2 or 3 axes, got shape {img.shape}")
    height, width = img.shape[:2]
    return img[: height - height % scale, : width - width % scale].copy()
