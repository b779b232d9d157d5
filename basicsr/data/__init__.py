"""Data sets, loaders and degradation primitives."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import Dataset

from basicsr.data.data_sampler import EnlargedSampler as EnlargedSampler
from basicsr.data.data_sampler import SampleIndex as SampleIndex
from basicsr.data.gated_degradation_dataset import GatedDegradationDataset as GatedDegradationDataset
from basicsr.data.loader import FailureCounter as FailureCounter
from basicsr.data.loader import build_dataloader as build_dataloader
from basicsr.data.loader import collate_samples as collate_samples
from basicsr.data.loader import worker_init_fn as worker_init_fn
from basicsr.data.paired_image_dataset import PairedImageDataset as PairedImageDataset
from basicsr.data.prefetch_dataloader import CPUPrefetcher as CPUPrefetcher
from basicsr.data.prefetch_dataloader import CUDAPrefetcher as CUDAPrefetcher
from basicsr.data.prefetch_dataloader import PrefetchDataLoader as PrefetchDataLoader
from basicsr.data.realesrgan_dataset import RealESRGANDataset as RealESRGANDataset
from basicsr.data.realesrgan_paired_dataset import RealESRGANPairedDataset as RealESRGANPairedDataset
from basicsr.data.single_image_dataset import SingleImageDataset as SingleImageDataset
from basicsr.utils.errors import UserError
from basicsr.utils.frozen import thaw
from basicsr.utils.registry import DATASET_REGISTRY


def build_dataset(dataset_opt: Mapping[str, Any]) -> Dataset[Any]:
    """Builds a data set from its block in an option file.

    Args:
        dataset_opt: ``type`` and the class's own keys, ``phase`` and ``scale`` among them; not modified.

    Raises:
        UserError: If ``type`` is missing or unknown, or the class refuses the block.
    """
    if "type" not in dataset_opt:
        known = ", ".join(DATASET_REGISTRY.keys())
        raise UserError(f"data set {dataset_opt.get('name', '')}: type is missing; {known}")
    cls = DATASET_REGISTRY.get(dataset_opt["type"])
    # Data sets written for the original framework pop keys from their options.
    return cls(dataset_opt if hasattr(cls, "Options") else thaw(dataset_opt))
