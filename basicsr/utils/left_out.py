"""Video and face restoration, parts of BasicSR 1.4.2 that stay out of this package; whoever asks for one is told so."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

REASON = "video and face restoration stay out of this package, which is for super-resolution of images"

MODULES = frozenset(
    [
        *("archs.basicvsr_arch", "archs.basicvsrpp_arch", "archs.dfdnet_arch", "archs.dfdnet_util", "archs.duf_arch"),
        *("archs.edvr_arch", "archs.hifacegan_arch", "archs.hifacegan_util", "archs.spynet_arch"),
        *("archs.stylegan2_arch", "archs.stylegan2_bilinear_arch", "archs.tof_arch"),
        *("data.ffhq_dataset", "data.reds_dataset", "data.video_test_dataset", "data.vimeo90k_dataset"),
        *("models.edvr_model", "models.hifacegan_model", "models.stylegan2_model", "models.video_base_model"),
        *("models.video_gan_model", "models.video_recurrent_gan_model", "models.video_recurrent_model"),
        *("ops", "utils.flow_util"),
    ]
)
"""Modules of 1.4.2, below ``basicsr``."""

TYPES = frozenset(
    [
        *("BasicVSR", "BasicVSRPlusPlus", "DFDNet", "DUF", "EDVR", "HiFaceGAN", "HiFaceGANDiscriminator", "IconVSR"),
        *("SpyNet", "StyleGAN2Discriminator", "StyleGAN2Generator", "StyleGAN2GeneratorBilinear", "TOFlow"),
        *("FFHQDataset", "REDSDataset", "REDSRecurrentDataset", "VideoRecurrentTestDataset", "VideoTestDUFDataset"),
        *("VideoTestDataset", "VideoTestVimeo90KDataset", "Vimeo90KDataset", "Vimeo90KRecurrentDataset"),
        *("EDVRModel", "HiFaceGANModel", "StyleGAN2Model", "VideoBaseModel", "VideoGANModel"),
        *("VideoRecurrentGANModel", "VideoRecurrentModel"),
    ]
)
"""What a ``type:`` or ``model_type:`` of 1.4.2's files for videos and faces may be."""


class LeftOutFinder:
    """Import hook that stands last, so that modules which somebody adds under these names are found before."""

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: Any = None) -> None:
        """Knows no module.

        Raises:
            ModuleNotFoundError: With the reason, if the module is one that stays out. It has no ``name``: Python would
                pass over it in ``from basicsr.archs import edvr_arch``.
        """
        package, _, module = name.partition(".")
        if package == "basicsr" and module in MODULES:
            raise ModuleNotFoundError(f"no module {name}: {REASON}")


def explain_missing_parts() -> None:
    """Has every import that finds nothing ask :class:`LeftOutFinder`."""
    if LeftOutFinder not in sys.meta_path:
        sys.meta_path.append(LeftOutFinder)
