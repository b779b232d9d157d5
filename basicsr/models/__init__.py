"""Models: every name that ``model_type:`` can take; see :mod:`basicsr.models.table`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.models.base_model import BaseModel
from basicsr.models.bebygan_hard_gated_degradation_model import BebyGANHardGatedDegradationModel
from basicsr.models.bebygan_hard_gated_degradation_spec_model import BebyGANHardGatedDegradationSpecModel
from basicsr.models.bebygan_model import BebyGANModel
from basicsr.models.bebygan_spec_model import BebyGANSpecModel
from basicsr.models.esrgan_hard_gated_degradation_model import ESRGANHardGatedDegradationModel
from basicsr.models.esrgan_hard_gated_degradation_spec_model import ESRGANHardGatedDegradationSpecModel
from basicsr.models.esrgan_model import ESRGANModel
from basicsr.models.esrgan_simple_gated_degradation_w_model import ESRGANSimpleGatedDegradationWModel
from basicsr.models.esrgan_simple_gated_degradation_w_spec_model import ESRGANSimpleGatedDegradationWSpecModel
from basicsr.models.esrgan_spec_model import ESRGANSpecModel
from basicsr.models.realesrgan_model import RealESRGANModel
from basicsr.models.realesrnet_model import RealESRNetModel
from basicsr.models.spsr_hard_gated_degradation_model import SPSRHardGatedDegradationModel
from basicsr.models.spsr_model import SPSRModel
from basicsr.models.sr_hard_gated_degradation_model import SRHardGatedDegradationModel
from basicsr.models.sr_model import SRModel
from basicsr.models.sr_simple_gated_degradation_model import SRSimpleGatedDegradationModel
from basicsr.models.srgan_hard_gated_degradation_model import SRGANHardGatedDegradationModel
from basicsr.models.srgan_model import SRGANModel
from basicsr.models.srgan_simple_gated_degradation_model import SRGANSimpleGatedDegradationModel
from basicsr.models.srgan_spec_model import SRGANSpecModel
from basicsr.utils.frozen import thaw
from basicsr.utils.registry import MODEL_REGISTRY

__all__ = [
    "BaseModel",
    "BebyGANHardGatedDegradationModel",
    "BebyGANHardGatedDegradationSpecModel",
    "BebyGANModel",
    "BebyGANSpecModel",
    "ESRGANHardGatedDegradationModel",
    "ESRGANHardGatedDegradationSpecModel",
    "ESRGANModel",
    "ESRGANSimpleGatedDegradationWModel",
    "ESRGANSimpleGatedDegradationWSpecModel",
    "ESRGANSpecModel",
    "RealESRGANModel",
    "RealESRNetModel",
    "SPSRHardGatedDegradationModel",
    "SPSRModel",
    "SRGANHardGatedDegradationModel",
    "SRGANModel",
    "SRGANSimpleGatedDegradationModel",
    "SRGANSpecModel",
    "SRHardGatedDegradationModel",
    "SRModel",
    "SRSimpleGatedDegradationModel",
    "build_model",
]


def build_model(opt: Mapping[str, Any]) -> BaseModel:
    """Builds the model that ``opt["model_type"]`` names.

    Raises:
        UserError: If there is no such model type; the message gives the nearest names.
    """
    cls = MODEL_REGISTRY.get(opt["model_type"])
    # Models written for the original framework pop keys from their options.
    is_ours = cls.__module__.startswith("basicsr.")
    model: BaseModel = cls(opt if is_ours else thaw(opt))
    return model
