"""The section ``val`` of an option file."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from basicsr.utils.fields import Count, PositiveInt, Section
from basicsr.utils.parts import Part, PartOf
from basicsr.utils.registry import METRIC_REGISTRY


class MetricOptions(Section):
    """Keys of a metric's block beside the metric's own arguments."""

    better: Literal["higher", "lower"] | None = None
    """Which values are better; absent: the metric knows, as all of this package do."""


MetricPart = Annotated[Part, PartOf(METRIC_REGISTRY, ("img", "img2"), beside=MetricOptions)]


class ValOptions(Section):
    """How the generator is validated and tested."""

    val_freq: PositiveInt = 5000
    """Iterations between validations."""
    save_img: bool = False
    """Write every generated image."""
    suffix: str | None = None
    """Ending of the written images' names; absent: the run's name when testing."""
    metrics: dict[str, MetricPart | None] = Field(default_factory=dict)
    """`NAME: {type, …}`: metrics by names of your choice; `better: higher|lower` beside each metric's arguments."""
    pbar: bool = True
    """Show a progress bar."""
    tile: PositiveInt | None = None
    """Side in LQ pixels of the tiles that a large image is split into, to bound memory; absent: whole images. Or both
    numbers as `{size, overlap}`."""
    tile_overlap: Count | None = None
    """Margin around every tile, in LQ pixels, that is computed and thrown away; absent: as much as the network needs
    for the pixels of the whole image, which is measured on its weights. Where less is given, results say so."""
    batch: PositiveInt | None = None
    """Most images of one size that pass through the generator together, where they follow each other in a data set;
    absent: as many as keep a GPU busy, one on the CPU. Images above 2^20 pixels always pass alone, and all do with
    `tile` or where a GPU's memory does not suffice."""
    use_ema: bool = True
    """Validate the generator's running average where there is one."""
    spectra: bool = False
    """While training: log the spectral distance, the radial profile against GT and each critic's accuracy on real and
    generated images, see `docs/train.md`."""
    baseline: Literal["bicubic"] | None = "bicubic"
    """Method that tests and the end of training compare with; `null`: none."""
