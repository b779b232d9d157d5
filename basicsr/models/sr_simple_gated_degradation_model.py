"""SRSimpleGatedDegradationModel: see its row in :mod:`basicsr.models.table`."""

from __future__ import annotations

from typing import ClassVar

from basicsr.models.sr_model import SRModel
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class SRSimpleGatedDegradationModel(SRModel):
    """Content losses only, on simple-gated degradations (ESRNet of the SGD set-up)."""

    recipe: ClassVar[Recipe] = TABLE["SRSimpleGatedDegradationModel"]
