"""BebyGANModel: see its row in :mod:`basicsr.models.table`."""

from __future__ import annotations

from typing import ClassVar

from basicsr.models.esrgan_model import ESRGANModel
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class BebyGANModel(ESRGANModel):
    """BebyGAN (arXiv 2103.15295): best-buddy loss, back-projection, critics that see detailed regions only."""

    recipe: ClassVar[Recipe] = TABLE["BebyGANModel"]
