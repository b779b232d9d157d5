"""Which parts of an image a critic scores."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

from basicsr.analysis.images import draw_offset
from basicsr.utils.errors import DataError, UserError

Protocol = Literal["default", "patchify", "random"]
PROTOCOLS: tuple[Protocol, ...] = ("default", "patchify", "random")


class Window(NamedTuple):
    """A rectangle of an image, in pixels."""

    top: int
    left: int
    height: int
    width: int


@dataclass(frozen=True)
class CropPlan:
    """How an image is cut up for one critic; the image's score is the mean over its windows.

    Attributes:
        protocol: ``default`` the whole image; ``patchify`` every window on a grid; ``random`` random windows.
        size: Height and width of a window, and for ``default`` the image size the critic takes, None for any.
        stride: Step of the grid in pixels; an incomplete last step is left out, as published.
        n_ensemble: Number of random windows. They depend on (seed, image name) and the image's size alone.
        seed: Seed of the random windows.
    """

    protocol: Protocol = "random"
    size: tuple[int, int] | None = None
    stride: int = 64
    n_ensemble: int = 20
    seed: int = 23

    def __post_init__(self) -> None:
        if self.protocol not in PROTOCOLS:
            raise UserError(f"protocol must be one of {', '.join(PROTOCOLS)}; got {self.protocol!r}")
        if self.protocol != "default" and self.size is None:
            raise UserError(f"protocol {self.protocol} needs a window size; give --img_size H W")
        if self.stride < 1 or self.n_ensemble < 1 or (self.size is not None and min(self.size) < 1):
            raise UserError(f"window size, stride and n_ensemble must be positive; got {self}")

    def place_windows(self, name: str, height: int, width: int) -> list[Window]:
        """Windows for one image.

        Args:
            name: The image's file name.
            height: Its height in pixels.
            width: Its width in pixels.

        Raises:
            DataError: If the image is smaller than a window, or (``default``) not of the size that the critic takes.
        """
        if self.protocol == "default":
            if self.size is not None and self.size != (height, width):
                raise DataError(
                    f"image is {width}x{height} pixels and the critic takes {self.size[1]}x{self.size[0]} only; "
                    "use the protocol random or patchify, or give --img_size"
                )
            return [Window(0, 0, height, width)]
        assert self.size is not None
        rows, columns = self.size
        if self.protocol == "random":
            draws = range(self.n_ensemble)
            corners = [draw_offset(self.seed, name, draw, height, width, self.size) for draw in draws]
        else:
            if height < rows or width < columns:
                raise DataError(f"image is {width}x{height} pixels, smaller than the {columns}x{rows} window")
            tops, lefts = (range(0, space + 1, self.stride) for space in (height - rows, width - columns))
            corners = [(top, left) for top in tops for left in lefts]
        return [Window(top, left, rows, columns) for top, left in corners]
