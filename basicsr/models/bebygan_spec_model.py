"""BebyGANSpecModel: see its row in :mod:`basicsr.models.table`."""

from __future__ import annotations

from typing import ClassVar

from basicsr.models.bebygan_model import BebyGANModel
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class BebyGANSpecModel(BebyGANModel):
    """BebyGAN with a spatial and a spectral critic."""

    recipe: ClassVar[Recipe] = TABLE["BebyGANSpecModel"]
