"""Steps that turn downloads into data sets; ``scripts/data_preparation/`` puts a command line on each."""

from __future__ import annotations

from basicsr.preparation.downloads import ARCHIVES, download_dataset
from basicsr.preparation.finished_folders import (
    FolderReport,
    check_dataset,
    create_lmdb,
    generate_meta_info,
    generate_paired_meta_info,
)
from basicsr.preparation.subimages import extract_subimages, generate_multiscale, plan_div2k

__all__ = [
    "ARCHIVES",
    "FolderReport",
    "check_dataset",
    "create_lmdb",
    "download_dataset",
    "extract_subimages",
    "generate_meta_info",
    "generate_multiscale",
    "generate_paired_meta_info",
    "plan_div2k",
]
