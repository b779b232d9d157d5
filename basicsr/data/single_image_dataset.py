"""Low-resolution images alone, for testing without GT."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from basicsr.data.dataset_options import DatasetOptions, PathText
from basicsr.data.image_dataset import ImageDataset
from basicsr.data.listings import Entry
from basicsr.utils.registry import DATASET_REGISTRY


class SingleImageOptions(DatasetOptions):
    """Block of :class:`SingleImageDataset`."""

    dataroot_lq: PathText
    """Folder of LQ images, or a .lmdb database."""
    color: Literal["rgb", "y"] | None = None
    """`y`: BT.601 luma only."""


@DATASET_REGISTRY.register()
class SingleImageDataset(ImageDataset):
    """LQ images from a folder, a meta-info file or a database, whole.

    Args:
        opt: The block; see :class:`SingleImageOptions`.

    Sample:
        ``lq`` (3, h, w): RGB float32 in [0, 1]; ``lq_path``; ``failed``.
    """

    Options = SingleImageOptions
    provides = frozenset({"lq"})

    def load_sample(self, entry: Entry, rng: np.random.Generator) -> dict[str, Any]:
        image = self.read_image(entry["lq_path"], "lq")
        return {"lq": self.to_tensors([image], rng)[0], "lq_path": entry["lq_path"]}
