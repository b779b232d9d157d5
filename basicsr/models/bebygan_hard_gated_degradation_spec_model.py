"""BebyGANHardGatedDegradationSpecModel: see its row in :mod:`basicsr.models.table`."""

from __future__ import annotations

from typing import ClassVar

from basicsr.models.bebygan_spec_model import BebyGANSpecModel
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class BebyGANHardGatedDegradationSpecModel(BebyGANSpecModel):
    """BebyGAN with both critics on hard-gated degradations."""

    recipe: ClassVar[Recipe] = TABLE["BebyGANHardGatedDegradationSpecModel"]
