"""The section ``val`` of an option file."""

from __future__ import annotations

from typing import Annotated, Literal

from basicsr.utils.fields import Count, PositiveInt, Section, option
from basicsr.utils.parts import Part, PartOf
from basicsr.utils.registry import METRIC_REGISTRY


class MetricOptions(Section):
    """Keys of a metric's block beside the metric's own arguments."""

    better: Literal["higher", "lower"] | None = option(None, "Which values are better; absent: the metric knows.")


Metric = Annotated[Part, PartOf(METRIC_REGISTRY, ("img", "img2"), beside=MetricOptions)]


class ValOptions(Section):
    """How the generator is validated and tested."""

    val_freq: PositiveInt = option(5000, "Iterations between validations.")
    save_img: bool = option(False, "Write every generated image.")
    suffix: str | None = option(None, "Ending of the written images' names; absent: the run's name when testing.")
    metrics: dict[str, Metric | None] = option(
        None,
        "`NAME: {type, …}`: metrics by names of your choice; `better: higher|lower` beside each metric's arguments.",
        factory=dict,
    )
    pbar: bool = option(True, "Show a progress bar.")
    tile: PositiveInt | None = option(
        None,
        "Side in LQ pixels of the tiles that a large image is split into, to bound memory; absent: whole images. Or "
        "both numbers as `{size, overlap}`.",
    )
    tile_overlap: Count = option(16, "LQ pixels by which neighbouring tiles overlap.")
    use_ema: bool = option(True, "Validate the generator's running average where there is one.")
    spectra: bool = option(
        False,
        "While training: log the spectral distance, the radial profile against GT and each critic's accuracy on "
        "real and generated images, see `docs/train.md`.",
    )
    baseline: Literal["bicubic"] | None = option(
        "bicubic", "Method that tests and the end of training compare with; `~`: none."
    )
