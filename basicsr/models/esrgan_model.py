"""ESRGANModel: see its row in :mod:`basicsr.models.table`."""

from __future__ import annotations

from typing import ClassVar

from basicsr.models.srgan_model import SRGANModel
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class ESRGANModel(SRGANModel):
    """ESRGAN: relativistic average objective with a spatial critic; LDL with ``train.ldl_opt``."""

    recipe: ClassVar[Recipe] = TABLE["ESRGANModel"]
