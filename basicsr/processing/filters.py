"""Image batches filtered and cut: blur with a kernel per image, unsharp masking, flat regions, gradients, windows."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import nn


def reflect_indices(positions: torch.Tensor, length: int) -> torch.Tensor:
    """Folds positions into ``[0, length)`` by reflection without repeating the edge, as often as it takes."""
    # The period of the reflected axis; one sample alone repeats itself.
    period = max(2 * (length - 1), 1)
    folded = positions.remainder(period)
    return torch.minimum(folded, period - folded)


def pad_reflect(x: torch.Tensor, pad: int) -> torch.Tensor:
    """Pads (..., H, W) by ``pad`` on all four sides by reflection, also where ``pad`` exceeds the image."""
    if pad < min(x.shape[-2:]) and x.ndim in (3, 4):
        return F.pad(x, (pad,) * 4, mode="reflect")
    for axis in (-2, -1):
        positions = torch.arange(-pad, x.shape[axis] + pad, device=x.device)
        x = x.index_select(axis, reflect_indices(positions, x.shape[axis]))
    return x


def extend_by_reflection(x: torch.Tensor, multiple_of: int) -> torch.Tensor:
    """Extends (..., H, W) at the bottom and on the right by reflection to sides that ``multiple_of`` divides."""
    for axis in (-2, -1):
        length = x.shape[axis]
        if length % multiple_of:
            # Unlike reflection in torch.nn.functional.pad, more than the image's own side may be missing.
            positions = torch.arange(length + -length % multiple_of, device=x.device)
            x = x.index_select(axis, reflect_indices(positions, length))
    return x


def correlate_each(x_BCHW: torch.Tensor, kernels_BKK: torch.Tensor, stride: int = 1) -> torch.Tensor:
    """Cross-correlates every image with its own kernel, without padding.

    Args:
        x_BCHW: Images.
        kernels_BKK: (B, kh, kw), one kernel per image, used for all of its channels.
        stride: Distance of output samples on both axes.

    Returns:
        (B, C, (H - kh) // stride + 1, (W - kw) // stride + 1).
    """
    batch, channels, height, width = x_BCHW.shape
    # All planes become channels of one image, so that one depthwise call serves all kernels without moving pixels.
    kernels = kernels_BKK.repeat_interleave(channels, dim=0).unsqueeze(1)
    planes = F.conv2d(x_BCHW.reshape(1, -1, height, width), kernels, stride=stride, groups=batch * channels)
    return planes.view(batch, channels, *planes.shape[2:])


def filter2D(img: torch.Tensor, kernel: torch.Tensor, padding_mode: str = "reflect") -> torch.Tensor:
    """Cross-correlates images with a shared kernel or one kernel each; the size stays.

    Args:
        img: (B, C, H, W), floating point.
        kernel: (B, k, k) or (1, k, k), k odd.
        padding_mode: ``reflect`` (edge not repeated), ``replicate``, ``circular`` or ``constant`` (zeros).

    Returns:
        (B, C, H, W), of the images' type.

    Raises:
        ValueError: If the kernel is not square and odd or does not fit the batch.
    """
    if img.ndim != 4 or kernel.ndim != 3:
        raise ValueError(f"expected images (B, C, H, W) and kernels (B, k, k), got {img.shape} and {kernel.shape}")
    count, size = kernel.shape[0], kernel.shape[-1]
    if kernel.shape[-2] != size or size % 2 == 0:
        raise ValueError(f"kernels must be square with an odd side, got {tuple(kernel.shape)}")
    if count not in (1, img.shape[0]):
        raise ValueError(f"{count} kernels do not fit {img.shape[0]} images: give one for all or one for each")
    kernels = kernel.to(img.dtype).expand(img.shape[0], -1, -1)
    groups = _group_by_support(kernels) if img.device.type == "cpu" else {size: []}
    if len(groups) == 1:
        return _filter_all(img, kernels, min(groups), padding_mode)
    filtered = torch.empty_like(img)
    for side, members in groups.items():
        filtered[members] = _filter_all(img[members], kernels[members], side, padding_mode)
    return filtered


def _group_by_support(kernels_BKK: torch.Tensor) -> dict[int, list[int]]:
    """Kernels by the odd side outside which they are zero, rounded up to 1, 5, 9, … but at most their own side.

    A kernel of 7 that is padded to 21 costs a ninth without its padding, to the same bits.
    """
    size = kernels_BKK.shape[-1]
    distances = (torch.arange(size) - size // 2).abs()
    reach = (torch.maximum(distances[:, None], distances) * (kernels_BKK != 0)).amax((1, 2))
    groups: dict[int, list[int]] = {}
    for number, side in enumerate((4 * ((reach + 1) // 2) + 1).clamp(max=size).tolist()):
        groups.setdefault(side, []).append(number)
    return groups


def _filter_all(img: torch.Tensor, kernels_BKK: torch.Tensor, side: int, padding_mode: str) -> torch.Tensor:
    """Cross-correlates images with the central ``side`` x ``side`` of one kernel each."""
    pad, rim = side // 2, (kernels_BKK.shape[-1] - side) // 2
    padded = pad_reflect(img, pad) if padding_mode == "reflect" else F.pad(img, (pad,) * 4, mode=padding_mode)
    return correlate_each(padded, kernels_BKK[:, rim : rim + side, rim : rim + side])


def _gaussian_taps(radius: int, sigma: float) -> np.ndarray:
    """OpenCV's 1-D Gaussian of odd length; ``sigma`` 0 means OpenCV's automatic value for that length."""
    if radius < 1:
        raise ValueError(f"radius must be at least 1, got {radius}")
    return cv2.getGaussianKernel(radius + 1 - radius % 2, sigma)[:, 0]


def usm_sharp(img: np.ndarray, weight: float = 0.5, radius: int = 50, threshold: float = 10) -> np.ndarray:
    """Sharpens by unsharp masking where the detail exceeds a threshold.

    ``img + weight * (img - blur)`` replaces the image in regions where ``|img - blur| * 255 > threshold``; the mask of
    these regions is blurred by the same Gaussian.

    Args:
        img: (H, W, C) or (H, W), float in [0, 1].
        weight: Strength.
        radius: Length of the Gaussian in pixels (made odd); its sigma is OpenCV's automatic one.
        threshold: Smallest detail that is sharpened, in 8-bit units.

    Returns:
        The sharpened image, in [0, 1].
    """
    taps = _gaussian_taps(radius, 0)
    detail = img - cv2.sepFilter2D(img, -1, taps, taps)
    soft_mask = cv2.sepFilter2D((np.abs(detail) * 255 > threshold).astype(np.float32), -1, taps, taps)
    sharp = np.clip(img + weight * detail, 0, 1)
    return img + soft_mask * (sharp - img)


class USMSharp(nn.Module):
    """Unsharp masking of batches, as :func:`usm_sharp`.

    Args:
        radius: Length of the Gaussian in pixels (made odd).
        sigma: Its standard deviation in pixels; 0 means OpenCV's automatic value.
    """

    kernel: torch.Tensor
    taps: torch.Tensor

    def __init__(self, radius: int = 50, sigma: float = 0) -> None:
        super().__init__()
        taps = torch.from_numpy(_gaussian_taps(radius, sigma)).float()
        self.radius = len(taps)
        self.register_buffer("kernel", torch.outer(taps, taps).unsqueeze(0))
        self.register_buffer("taps", taps, persistent=False)

    def _blur(self, x: torch.Tensor) -> torch.Tensor:
        if x.device.type == "cpu" and x.dtype in (torch.float32, torch.float64) and not x.requires_grad:
            # OpenCV holds a few rows at a time, where two convolutions write the whole image twice.
            blurred, taps_1d = torch.empty_like(x, memory_format=torch.contiguous_format), self.taps.numpy()
            for plane, target in zip(x.flatten(0, 1).numpy(), blurred.flatten(0, 1).numpy()):
                cv2.sepFilter2D(plane, -1, taps_1d, taps_1d, dst=target)
            return blurred
        # Along rows and then along columns; all planes as channels of one image, see correlate_each.
        planes = pad_reflect(x, self.radius // 2).flatten(0, 1).unsqueeze(0)
        taps = self.taps.to(x.dtype).expand(planes.shape[1], 1, 1, -1)
        rows = F.conv2d(planes, taps, groups=len(taps))
        return F.conv2d(rows, taps.transpose(2, 3), groups=len(taps)).view(x.shape)

    def forward(self, img: torch.Tensor, weight: float = 0.5, threshold: float = 10) -> torch.Tensor:
        """Sharpens (B, C, H, W) in [0, 1]; ``threshold`` in 8-bit units."""
        if img.device.type == "cpu" and len(img) > 1:
            # One at a time fits better into the cache.
            return torch.cat([self(image, weight, threshold) for image in img.split(1)])
        detail = img - self._blur(img)
        soft_mask = self._blur((detail.abs() * 255 > threshold).to(img.dtype))
        sharp = torch.add(img, detail, alpha=weight).clamp(0, 1)
        return torch.addcmul(img, soft_mask, sharp - img)


def get_flat_mask(img: torch.Tensor, kernel_size: int = 7, std_thresh: float = 0.03, scale: int = 1) -> torch.Tensor:
    """Marks flat regions: 1 where the local standard deviation of the luma is below a threshold, 0 elsewhere.

    Args:
        img: (B, 3, H, W) in [0, 1]; usually the low-resolution input.
        kernel_size: Odd side of the window, in pixels of the enlarged image.
        std_thresh: Threshold for the unbiased standard deviation, for values in [0, 1].
        scale: Bicubic enlargement before the measurement.

    Returns:
        (B, 1, H * scale, W * scale), of the images' type; no gradient.

    Raises:
        ValueError: If the images are not RGB or ``kernel_size`` is not odd.
    """
    if img.ndim != 4 or img.shape[1] != 3:
        raise ValueError(f"expected RGB images (B, 3, H, W), got {tuple(img.shape)}")
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd and at least 3, got {kernel_size}")
    with torch.no_grad():
        if scale != 1:
            img = F.interpolate(img, scale_factor=scale, mode="bicubic", align_corners=False)
        red, green, blue = img.unsqueeze(2).unbind(1)
        luma = 0.2989 * red + 0.587 * green + 0.114 * blue
        windows = pad_reflect(luma, kernel_size // 2).unfold(2, kernel_size, 1).unfold(3, kernel_size, 1)
        return (windows.std(dim=(-2, -1)) < std_thresh).to(img.dtype)


def gradient_map(image_BCHW: torch.Tensor, padding: int = 2, eps: float = 1e-6) -> torch.Tensor:
    """Magnitude of the central differences of every channel, ``sqrt(dv^2 + dh^2 + eps)``.

    Ma et al., "Structure-Preserving Super Resolution with Gradient Guidance", CVPR 2020 (arXiv 2003.13081); the
    differences are not halved. Pixels outside the image are black, so its outline is part of the map.

    Args:
        image_BCHW: (B, C, H, W), in [0, 1].
        padding: Width of the black margin: 2 gives a map that is two pixels larger either way (what SPSR's critic and
            gradient loss see), 1 a map of the image's size (the target of SPSR's gradient branch).
        eps: Keeps the root differentiable in flat regions.

    Returns:
        (B, C, H + 2 * padding - 2, W + 2 * padding - 2), at least ``sqrt(eps)``; differentiable.

    Raises:
        ValueError: If the image is too small to have a central difference.
    """
    if min(image_BCHW.shape[-2:]) + 2 * padding < 3:
        raise ValueError(f"an image of {tuple(image_BCHW.shape[-2:])} with padding {padding} has no central difference")
    padded = F.pad(image_BCHW, (padding,) * 4)
    vertical = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    horizontal = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    return (vertical.square() + horizontal.square() + eps).sqrt()


def patchify(img: torch.Tensor, patch_size: int | Sequence[int], stride: int | Sequence[int]) -> torch.Tensor:
    """Cuts images into windows; what does not fill a window at the right or bottom is dropped.

    Args:
        img: (B, C, H, W).
        patch_size: Height and width of a window, or one number for both.
        stride: Vertical and horizontal distance of windows, or one number for both.

    Returns:
        (B * n, C, ph, pw): all windows of the first image row by row, then those of the second, and so on.

    Raises:
        ValueError: If a size is not positive, or an image is smaller than a window.
    """
    (height, width), (down, right) = np.broadcast_to(patch_size, 2).tolist(), np.broadcast_to(stride, 2).tolist()
    if min(height, width, down, right) < 1:
        raise ValueError(f"patch_size and stride must be positive, got {patch_size} and {stride}")
    if img.ndim != 4 or img.shape[2] < height or img.shape[3] < width:
        raise ValueError(f"windows of {height}x{width} do not fit into images of shape {tuple(img.shape)}")
    windows = img.unfold(2, height, down).unfold(3, width, right)
    return windows.permute(0, 2, 3, 1, 4, 5).reshape(-1, img.shape[1], height, width)
