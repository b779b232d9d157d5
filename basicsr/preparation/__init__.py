"""Steps that turn downloads into data sets; ``basicsr data`` puts a command line on each."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from basicsr.preparation.downloads import ARCHIVES as ARCHIVES
    from basicsr.preparation.downloads import download_dataset as download_dataset
    from basicsr.preparation.finished_folders import FolderReport as FolderReport
    from basicsr.preparation.finished_folders import check_dataset as check_dataset
    from basicsr.preparation.finished_folders import create_lmdb as create_lmdb
    from basicsr.preparation.finished_folders import generate_meta_info as generate_meta_info
    from basicsr.preparation.finished_folders import generate_paired_meta_info as generate_paired_meta_info
    from basicsr.preparation.subimages import extract_subimages as extract_subimages
    from basicsr.preparation.subimages import generate_multiscale as generate_multiscale
    from basicsr.preparation.subimages import plan_div2k as plan_div2k

_MODULES = {
    "downloads": ("ARCHIVES", "download_dataset"),
    "finished_folders": (
        *("FolderReport", "check_dataset", "create_lmdb"),
        *("generate_meta_info", "generate_paired_meta_info"),
    ),
    "subimages": ("extract_subimages", "generate_multiscale", "plan_div2k"),
}


def __getattr__(name: str) -> Any:
    # Looked up when somebody asks: command lines must not load OpenCV.
    for module, names in _MODULES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__} has no attribute {name}")
