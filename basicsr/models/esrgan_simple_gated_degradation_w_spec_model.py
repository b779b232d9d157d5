"""ESRGANSimpleGatedDegradationWSpecModel: see its row in :mod:`basicsr.models.table`."""

from __future__ import annotations

from typing import ClassVar

from basicsr.models.esrgan_simple_gated_degradation_w_model import ESRGANSimpleGatedDegradationWModel
from basicsr.models.table import TABLE, Recipe
from basicsr.utils.registry import MODEL_REGISTRY


@MODEL_REGISTRY.register()
class ESRGANSimpleGatedDegradationWSpecModel(ESRGANSimpleGatedDegradationWModel):
    """Wasserstein objective, spatial and spectral critics, simple-gated degradations: trains quality critics."""

    recipe: ClassVar[Recipe] = TABLE["ESRGANSimpleGatedDegradationWSpecModel"]
