"""Steps that turn downloads into data sets; ``scripts/data_preparation/`` puts a command line on each."""

from __future__ import annotations

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
