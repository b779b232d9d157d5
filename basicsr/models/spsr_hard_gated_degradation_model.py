"""SPSRHardGatedDegradationModel: see its row in :mod:`basicsr.models.table`."""

from __future__ import annotations

from typing import ClassVar

from basicsr.models.spsr_model import SPSRModel
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class SPSRHardGatedDegradationModel(SPSRModel):
    """SPSR on hard-gated degradations."""

    recipe: ClassVar[Recipe] = TABLE["SPSRHardGatedDegradationModel"]
