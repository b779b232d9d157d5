"""Image quality metrics: functions on batches, and BasicSR's ``calculate_*`` names on top."""

from basicsr.metrics.fid import calculate_fid as calculate_fid
from basicsr.metrics.lpips import batch_lpips as batch_lpips
from basicsr.metrics.lpips import calculate_lpips as calculate_lpips
from basicsr.metrics.metric import Levels as Levels
from basicsr.metrics.metric import Metric as Metric
from basicsr.metrics.metric import Unmeasurable as Unmeasurable
from basicsr.metrics.metric import calculate_metric as calculate_metric
from basicsr.metrics.metric import register_metric as register_metric
from basicsr.metrics.niqe import calculate_niqe as calculate_niqe
from basicsr.metrics.psnr_ssim import batch_psnr as batch_psnr
from basicsr.metrics.psnr_ssim import batch_ssim as batch_ssim
from basicsr.metrics.psnr_ssim import calculate_psnr as calculate_psnr
from basicsr.metrics.psnr_ssim import calculate_psnr_pt as calculate_psnr_pt
from basicsr.metrics.psnr_ssim import calculate_ssim as calculate_ssim
from basicsr.metrics.psnr_ssim import calculate_ssim_pt as calculate_ssim_pt
from basicsr.metrics.spectral_distance import batch_spectral_distance as batch_spectral_distance
from basicsr.metrics.spectral_distance import calculate_spectral_distance as calculate_spectral_distance
