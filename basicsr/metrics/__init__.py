"""Image quality metrics: pure functions on batches, accumulators over images, and BasicSR's ``calculate_*`` names."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.metrics.accumulators import FeatureAccumulator, MeanAccumulator, MetricAccumulator
from basicsr.metrics.fid import calculate_fid
from basicsr.metrics.lpips import calculate_lpips, measure_lpips
from basicsr.metrics.metric_info import (
    MetricInfo,
    metric_direction,
    metric_info,
    metric_options,
    metric_protocol,
    register_metric,
)
from basicsr.metrics.niqe import calculate_niqe
from basicsr.metrics.psnr_ssim import (
    calculate_psnr,
    calculate_psnr_pt,
    calculate_ssim,
    calculate_ssim_pt,
    measure_psnr,
    measure_ssim,
)
from basicsr.metrics.spectral_distance import calculate_spectral_distance, measure_spectral_distance
from basicsr.utils.registry import METRIC_REGISTRY

__all__ = [
    "FeatureAccumulator",
    "MeanAccumulator",
    "MetricAccumulator",
    "MetricInfo",
    "calculate_fid",
    "calculate_lpips",
    "calculate_metric",
    "calculate_niqe",
    "calculate_psnr",
    "calculate_psnr_pt",
    "calculate_spectral_distance",
    "calculate_ssim",
    "calculate_ssim_pt",
    "measure_lpips",
    "measure_psnr",
    "measure_spectral_distance",
    "measure_ssim",
    "metric_direction",
    "metric_info",
    "metric_options",
    "metric_protocol",
    "register_metric",
]


def calculate_metric(data: Mapping[str, Any], opt: Mapping[str, Any]) -> Any:
    """Calls the metric that an option block names.

    Args:
        data: ``img``, the image, and ``img2``, its reference (left out for metrics without one).
        opt: ``type`` and the metric's options; ``better`` is ignored. Not modified.

    Returns:
        What the metric returns: a float for functions on arrays, a tensor ``(B,)`` for those on tensors.

    Raises:
        UserError: If the type or an option is unknown.
        ValueError: If the images do not fit, or the reference is missing.
    """
    options = metric_options(opt)
    name = str(opt["type"])
    images = dict(data)
    if not metric_info(name).needs_reference:
        images.pop("img2", None)
    elif images.get("img2") is None:
        raise ValueError(f"{name} compares with a reference image (img2), and none was given")
    return METRIC_REGISTRY.get(name)(**images, **options)
