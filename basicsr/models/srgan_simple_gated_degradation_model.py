"""SRGANSimpleGatedDegradationModel: see its row in :mod:`basicsr.models.table`."""

from __future__ import annotations

from typing import ClassVar

from basicsr.models.srgan_model import SRGANModel
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class SRGANSimpleGatedDegradationModel(SRGANModel):
    """SRGAN on simple-gated degradations."""

    recipe: ClassVar[Recipe] = TABLE["SRGANSimpleGatedDegradationModel"]
