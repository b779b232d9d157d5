"""Image quality metrics: functions on batches, and BasicSR's ``calculate_*`` names on top."""

from __future__ import annotations

from basicsr.metrics.fid import calculate_fid
from basicsr.metrics.lpips import batch_lpips, calculate_lpips
from basicsr.metrics.metric import Levels, Metric, calculate_metric, register_metric
from basicsr.metrics.niqe import calculate_niqe
from basicsr.metrics.psnr_ssim import (
    batch_psnr,
    batch_ssim,
    calculate_psnr,
    calculate_psnr_pt,
    calculate_ssim,
    calculate_ssim_pt,
)
from basicsr.metrics.spectral_distance import batch_spectral_distance, calculate_spectral_distance

__all__ = [
    "Levels",
    "Metric",
    "batch_lpips",
    "batch_psnr",
    "batch_spectral_distance",
    "batch_ssim",
    "calculate_fid",
    "calculate_lpips",
    "calculate_metric",
    "calculate_niqe",
    "calculate_psnr",
    "calculate_psnr_pt",
    "calculate_spectral_distance",
    "calculate_ssim",
    "calculate_ssim_pt",
    "register_metric",
]
