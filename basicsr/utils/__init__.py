"""Utilities under the names that downstream packages import from ``basicsr.utils``."""

from basicsr.utils.color_util import bgr2ycbcr, rgb2ycbcr, rgb2ycbcr_pt, ycbcr2bgr, ycbcr2rgb
from basicsr.utils.diffjpeg import DiffJPEG
from basicsr.utils.img_process_util import USMSharp, filter2D, usm_sharp
from basicsr.utils.img_util import crop_border, imfrombytes, img2tensor, imwrite, tensor2img, tensor2img_fast
from basicsr.utils.logger import get_env_info, get_root_logger
from basicsr.utils.matlab_functions import imresize

__all__ = [
    "DiffJPEG",
    "USMSharp",
    "bgr2ycbcr",
    "crop_border",
    "filter2D",
    "get_env_info",
    "get_root_logger",
    "imfrombytes",
    "img2tensor",
    "imresize",
    "imwrite",
    "rgb2ycbcr",
    "rgb2ycbcr_pt",
    "tensor2img",
    "tensor2img_fast",
    "usm_sharp",
    "ycbcr2bgr",
    "ycbcr2rgb",
]
