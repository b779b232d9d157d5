"""SPSRModel: see its row in :mod:`basicsr.models.table`."""

from __future__ import annotations

from typing import ClassVar

from basicsr.models.srgan_model import SRGANModel
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class SPSRModel(SRGANModel):
    """SPSR (arXiv 2003.13081): a gradient branch in the generator and a critic on gradient maps."""

    recipe: ClassVar[Recipe] = TABLE["SPSRModel"]
