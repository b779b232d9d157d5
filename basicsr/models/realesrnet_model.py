"""RealESRNetModel: see its row in :mod:`basicsr.models.table`."""

from __future__ import annotations

from typing import ClassVar

from basicsr.models.sr_model import SRModel
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class RealESRNetModel(SRModel):
    """Content losses only, on second-order degradations (arXiv 2107.10833)."""

    recipe: ClassVar[Recipe] = TABLE["RealESRNetModel"]
