"""Low-resolution images alone, for testing without GT."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from pydantic import Field

from basicsr.data.checks import check_sizes
from basicsr.data.data_util import gt_paths_from_meta, paths_from_folder, paths_from_lmdb
from basicsr.data.dataset_options import DatasetOptions, PathText
from basicsr.data.decoding import read_image_size
from basicsr.data.image_dataset import Entry, ImageDataset
from basicsr.data.listings import read_meta_info, refuse_missing
from basicsr.utils.registry import DATASET_REGISTRY


class SingleImageOptions(DatasetOptions):
    """Block of :class:`SingleImageDataset`."""

    dataroot_lq: PathText = Field(description="Folder of LQ images, or a .lmdb database.")
    meta_info_file: PathText | None = Field(None, description="Text file of `path` or `path (h,w,c)` lines.")
    color: Literal["rgb", "y"] | None = Field(None, description="`y`: BT.601 luma only.")


@DATASET_REGISTRY.register()
class SingleImageDataset(ImageDataset):
    """LQ images from a folder, a meta-info file or a database, whole.

    Args:
        opt: The block; see :class:`SingleImageOptions`.

    Sample:
        ``lq`` (3, h, w): RGB float32 in [0, 1]; ``lq_path``; ``failed``.
    """

    Options = SingleImageOptions
    options: SingleImageOptions

    @classmethod
    def list_entries(cls, options: SingleImageOptions) -> list[dict[str, str]]:
        refuse_missing({"dataroot_lq": options.dataroot_lq}, options.meta_info_file)
        if options.io_backend.type == "lmdb":
            paths = paths_from_lmdb(options.dataroot_lq)
        elif options.meta_info_file is not None:
            paths = gt_paths_from_meta(options.dataroot_lq, read_meta_info(options.meta_info_file))
        else:
            paths = paths_from_folder(options.dataroot_lq)
        return [{"lq_path": path} for path in paths]

    @classmethod
    def check_entries(cls, options: SingleImageOptions, entries: list[dict[str, str]]) -> list[str]:
        if options.io_backend.type == "lmdb":
            return []
        if not entries:
            return [f"{options.dataroot_lq}: no image in this folder"]
        return check_sizes(entries, {"lq": read_image_size}, None, None, exact=False)

    def _database_paths(self) -> dict[str, str]:
        return {"lq": self.options.dataroot_lq}

    def load_sample(self, entry: Entry, rng: np.random.Generator) -> dict[str, Any]:
        image = self.read_image(entry["lq_path"], "lq")
        return {"lq": self.to_tensors([image], rng)[0], "lq_path": entry["lq_path"]}
