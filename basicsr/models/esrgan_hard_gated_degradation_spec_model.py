"""ESRGANHardGatedDegradationSpecModel: see its row in :mod:`basicsr.models.table`."""

from __future__ import annotations

from typing import ClassVar

from basicsr.models.esrgan_spec_model import ESRGANSpecModel
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class ESRGANHardGatedDegradationSpecModel(ESRGANSpecModel):
    """DualFormer on hard-gated degradations."""

    recipe: ClassVar[Recipe] = TABLE["ESRGANHardGatedDegradationSpecModel"]
