"""Networks as programs, for images of any size, which must make the same image as the network itself.

``torch.export`` follows the network once, with sides that are symbols: where code would choose by a side's value, it
refuses, so that no program works for the size of the example alone.
"""

from __future__ import annotations

import copy
import io
import json
import logging
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from basicsr.analysis.generators import Network
from basicsr.archs.swinir_arch import SwinIR
from basicsr.evaluation.tiling import size_multiple, tiled_forward
from basicsr.utils.atomic import atomic_path
from basicsr.utils.batch import image_of
from basicsr.utils.errors import UserError, first_line
from basicsr.version import __version__

PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16}
LIMITS = {"fp32": 1e-4, "fp16": 2 / 255}
"""Largest difference from the network's own float32 image, of colours from 0 to 1."""
INPUT, OUTPUT = "image", "enlarged"
METADATA_FILE = "metadata.json"
"""Where a ``.pt2`` archive has its metadata, for ``extra_files`` of :func:`torch.export.load`."""

Run = Callable[[Tensor], Tensor]
Pack = Callable[[ExportedProgram, Mapping[str, str]], tuple[bytes, Run]]
"""Makes the content of a file of a program and its metadata, and the program as it runs from there."""


class Program(nn.Module):
    """A network as other programs call it: float32 images (B, C, H, W) in [0, 1] to float32 images.

    Args:
        network: The network.
        precision: Of weights and arithmetic: a key of :data:`PRECISIONS`.
        size: Height and width of all images; ``None``: they may have any that the network takes.
        label: What messages call the file that is written.

    Attributes:
        multiple: What sides must be divisible by.
        least: Least side, where sizes are free.
    """

    def __init__(
        self, network: Network, precision: str = "fp32", size: tuple[int, int] | None = None, label: str = "export"
    ) -> None:
        super().__init__()
        self.network, self.precision, self.size, self.label = network, precision, size, label
        self.multiple = size_multiple(network.net)
        # A single row or window would be followed as what may be spread over others.
        self.least = self.multiple * max(2, math.ceil(int(getattr(network.net, "least", 1)) / self.multiple))
        self.dtype = PRECISIONS[precision]
        self.net = copy.deepcopy(network.net).to(self.dtype).requires_grad_(False)
        if isinstance(self.net, SwinIR) and self.net.absolute_pos_embed is None:
            # No image shall be compared with the size of training, whose mask is only stored to save time.
            self.net.img_size = (0, 0)

    def forward(self, image: Tensor) -> Tensor:
        """Enlarges (B, C, H, W) to (B, C, scale·H, scale·W)."""
        return image_of(self.net(image.to(self.dtype))).to(image.dtype)

    @torch.no_grad()
    def trace(self) -> ExportedProgram:
        """The program.

        Raises:
            UserError: If the network cannot be followed for these sizes.
        """
        sizes: dict[int, Any] = {0: Dim("batch", min=1)}
        for axis, name in {} if self.size else {2: "height", 3: "width"}.items():
            side = Dim(name, min=self.least // self.multiple)
            sizes[axis] = side if self.multiple == 1 else self.multiple * side
        example = self._draw(2, *(self.size or (self.least + 3 * self.multiple, self.least + 5 * self.multiple)))
        try:
            with silent():
                return torch.export.export(self, (example,), dynamic_shapes={"image": sizes}, strict=False)
        except Exception as error:  # whatever a network's code leads to that cannot be followed
            kind = type(self.network.net).__name__
            remedy = "" if self.size else "; give --size H W for one size"
            text = f"-o {self.label}: {kind} cannot be exported for images of {self.describe_sizes()}"
            reasons = (line.strip(" -") for line in str(error).splitlines() if line.startswith("  - "))
            raise UserError(f"{text}: {next(reasons, first_line(error))}{remedy}") from error

    def describe_sizes(self) -> str:
        """What sizes of images it takes."""
        if self.size:
            return f"{self.size[0]}x{self.size[1]} pixels"
        steps = f" in steps of {self.multiple}" if self.multiple > 1 else ""
        return f"any size from {self.least}x{self.least} pixels{steps}"

    def describe(self) -> dict[str, str]:
        """What users of the file need to know, as texts."""
        return {
            "scale": str(self.network.scale),
            "colour_order": "RGB" if self.network.channels == 3 else "gray",
            "range": "0..1",
            "sizes": self.describe_sizes(),
            "size_multiple": str(self.multiple),
            "precision": self.precision,
            "version": __version__,
        }

    @torch.inference_mode()
    def compare(self, run: Run) -> float:
        """Compares a program's images of three sizes with the network's own in float32.

        Args:
            run: The program.

        Returns:
            The largest difference.

        Raises:
            UserError: If it is above the limit, or sizes differ.
        """
        is_half, limit = self.dtype == torch.float16, LIMITS[self.precision]
        remedy = "take --precision fp32" if is_half else "give another --opset, or --size H W"
        differences = []
        for image in self._list_images():
            expected = self._run_network(image)
            failure = f"-o {self.label}: not written, since for an image of {_describe_size(image)} pixels it"
            try:
                found = run(image)
            except Exception as error:  # of classes that neither runtime documents
                raise UserError(f"{failure} fails ({first_line(error)}); {remedy}") from error
            if found.shape != expected.shape:
                raise UserError(f"{failure} makes {_describe_size(found)}, not {_describe_size(expected)}; {remedy}")
            if is_half:  # compared by its levels, and pictures have no other colours
                found, expected = found.clamp(0, 1), expected.clamp(0, 1)
            difference = float((found - expected).abs().max())
            if not difference <= limit:  # nor if it is not a number
                text = f"differs from the network by {difference:.2g}, and may by {limit:.2g}"
                raise UserError(f"{failure} {text}; {remedy}")
            differences.append(difference)
        return max(differences)

    def _run_network(self, image: Tensor) -> Tensor:
        def run(x: Tensor) -> Tensor:
            return image_of(self.network.net(x))

        return tiled_forward(run, image, tile=None, scale=self.network.scale, multiple=self.multiple)

    def _list_images(self) -> Iterator[Tensor]:
        steps = [(7, 16), (21, 3), (0, 33)]
        free = [tuple(self.least + step - step % self.multiple for step in pair) for pair in steps]
        for batch, size in enumerate([self.size] * 3 if self.size else free, start=1):
            yield self._draw(batch, *size)

    def _draw(self, batch: int, height: int, width: int) -> Tensor:
        """Random images of coloured areas with gray detail, as photographs have them: coloured noise is no picture."""
        generator = torch.Generator().manual_seed(batch)
        coarse = torch.rand(batch, self.network.channels, 4, 4, generator=generator)
        fine = torch.rand(batch, 1, height, width, generator=generator).expand(-1, self.network.channels, -1, -1)
        return F.interpolate(coarse, (height, width), mode="bilinear").lerp(fine, 0.1)


def _describe_size(image: Tensor) -> str:
    return "x".join(map(str, image.shape[-2:]))


def write_program(program: Program, path: Path, known: Mapping[str, str], pack: Pack) -> str:
    """Writes a program once it has made the network's images; returns what is to be said of it.

    Args:
        program: The network.
        path: The file.
        known: What is known of the weights, for the metadata.
        pack: :func:`pack_program`, or another format's.

    Raises:
        UserError: If it cannot be made or makes other images; nothing is written then.
        OSError: If the file cannot be written.
    """
    content, run = pack(program.trace(), {**known, **program.describe()})
    difference = program.compare(run)
    with atomic_path(path) as temporary:
        temporary.write_bytes(content)
    return (
        f"{program.precision}, RGB from 0 to 1, images of {program.describe_sizes()}; differs from the network's "
        f"own images by at most {difference:.1g}"
    )


def pack_program(traced: ExportedProgram, metadata: Mapping[str, str]) -> tuple[bytes, Run]:
    """A ``.pt2`` archive, and the program as it is loaded from there."""
    file = io.BytesIO()
    with silent():
        torch.export.save(traced, file, extra_files={METADATA_FILE: json.dumps(metadata, indent=2)})
        loaded: Any = torch.export.load(io.BytesIO(file.getvalue()))
    return file.getvalue(), loaded.module()


@contextmanager
def silent() -> Iterator[None]:
    """Hides what exporters say of their own ways."""
    loggers = [logging.getLogger(name) for name in ("torch", "onnxscript", "onnx_ir")]
    levels = [one.level for one in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for one in loggers:
            one.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for one, level in zip(loggers, levels):
                one.setLevel(level)
