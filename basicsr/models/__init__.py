"""Models: the training step and every name that ``model_type:`` can take; see :mod:`basicsr.models.presets`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.models.base_model import BaseModel
from basicsr.models.model_types import MODEL_TYPES
from basicsr.models.options import ModelOptions
from basicsr.utils.frozen import thaw
from basicsr.utils.registry import MODEL_REGISTRY, is_own

__all__ = ["BaseModel", "ModelOptions", "build_model", *MODEL_TYPES]

globals().update(MODEL_TYPES)


def build_model(opt: Mapping[str, Any]) -> BaseModel:
    """Builds the model that ``opt["model_type"]`` names.

    Raises:
        UserError: If there is no such model type; the message gives the nearest names.
    """
    cls = MODEL_REGISTRY.get(opt.get("model_type") or "SRModel")
    # Models written for the original framework pop keys from their options.
    model: BaseModel = cls(opt if is_own(cls) else thaw(opt))
    return model
