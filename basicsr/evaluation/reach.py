"""How far a network looks: the distance from a cut beyond which the rest of the image no longer shows.

The receptive field tells little: that of RRDBNet with 23 blocks is 700 pixels wide, that of attention over the image
has no end, and what far pixels do to the result is up to the weights. So it is measured on these: strips of noise and
of texture pass once whole and once cut, and the two results are compared at every distance from the cut.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from basicsr.utils.seeding import torch_generator

LEVELS = 255
VISIBLE = 0.5
"""Levels by which a pixel may differ from that of the whole image."""
SAFETY = 5
"""Factor below ``VISIBLE`` on the strips, which hold fewer patterns than photographs do."""
LENGTHS = (128, 256)
"""Pixels behind the cut: the second is tried where the first does not suffice."""
BEFORE_CUT = 64
WIDTH = 48
SETTLED = 7 / 8
"""Share of the length within which the difference must have vanished."""


@dataclass(frozen=True)
class Reach:
    """What cutting an image changes.

    Attributes:
        profile: At index d, the largest difference of pixels that are d or more LQ pixels away from a cut, in levels of
            255.
        overlap: LQ pixels beyond which it cannot be seen or, if it never vanishes, becomes no smaller.
        is_bounded: Whether it vanishes. It does not where the network averages over the whole image.
    """

    profile: tuple[float, ...]
    overlap: int
    is_bounded: bool

    def levels_at(self, overlap: int) -> float:
        """The largest difference, in levels of 255, with tiles that are computed with this margin."""
        return self.profile[min(overlap, len(self.profile) - 1)]


def make_texture(channels: int, height: int, width: int, generator: torch.Generator) -> Tensor:
    """A random picture (channels, height, width) in [0, 1] whose amplitudes fall with frequency, as photographs' do."""
    rows, columns = torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
    frequency = torch.hypot(rows, columns)
    frequency[0, 0] = 1
    spectrum = torch.fft.rfft2(torch.randn(channels, height, width, generator=generator)) / frequency
    spectrum[:, 0, 0] = 0
    picture = torch.fft.irfft2(spectrum, s=(height, width))
    return (0.5 + 0.25 * picture / picture.std()).clamp(0, 1)


@torch.no_grad()
def measure_reach(net: Callable[[Tensor], Tensor], like: Tensor, multiple: int = 1) -> Reach:
    """Measures how far a network looks.

    Args:
        net: Maps (1, C, h, w) to an image that is a whole number of times larger.
        like: (…, C, H, W), an input of the network: its channels, device and, if it is one of floats, type are taken.
        multiple: Sizes that the network takes.
    """

    def round_up(length: int) -> int:
        return math.ceil(length / multiple) * multiple

    before, width = round_up(BEFORE_CUT), round_up(WIDTH)
    dtype = like.dtype if like.is_floating_point() else torch.float32
    for length in map(round_up, LENGTHS):
        generator = torch_generator("reach", length)
        furthest = torch.zeros(length)
        shape = (like.shape[-3], width, before + length)
        noise = torch.rand(shape, generator=generator)
        # A darker part before the cut shows whether averages over the whole image matter.
        noise[..., :before] /= 2
        for axis, strip in ((-1, noise), (-1, make_texture(*shape, generator)), (-2, make_texture(*shape, generator))):
            image = (strip if axis == -1 else strip.mT).to(like.device, dtype)[None]
            furthest = torch.maximum(furthest, _compare(net, image, axis, before))
        profile = furthest.flip(0).cummax(0).values.flip(0) * LEVELS
        settled = profile[int(SETTLED * length)]
        limit = VISIBLE / SAFETY
        if is_bounded := bool(settled <= limit):
            break
        limit = 2 * float(settled)
    return Reach(tuple(profile.tolist()), int((profile > limit).sum()), is_bounded)


def _compare(net: Callable[[Tensor], Tensor], image: Tensor, axis: int, cut: int) -> Tensor:
    """The largest difference at each distance from a cut in LQ pixels along an axis: (length,), on the CPU."""
    length = image.shape[axis] - cut
    # TensorFloat-32 rounds inputs of other sizes otherwise, which has nothing to do with how far the network looks.
    cudnn = torch.backends.cudnn
    with cudnn.flags(enabled=cudnn.enabled, deterministic=cudnn.deterministic, allow_tf32=False):
        whole, part = net(image), net(image.narrow(axis, cut, length))
    kept = whole.narrow(axis, whole.shape[axis] - part.shape[axis], part.shape[axis])
    difference = (kept.float().clamp(0, 1) - part.float().clamp(0, 1)).abs().movedim(axis, 0).flatten(1).amax(1)
    return difference.view(length, -1).amax(1).cpu()
