"""What all data sets of images have in common: sources, keyed randomness, and images that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset

from basicsr.data.data_sampler import describe_visit
from basicsr.data.dataset_options import DatasetOptions, parse_options
from basicsr.data.decoding import SampleError, decode_image, image_to_tensor
from basicsr.data.failures import FAILED_KEY, largest_allowed
from basicsr.data.listings import SourceError
from basicsr.data.transforms import draw_offset, draw_symmetry, flip_and_transpose
from basicsr.utils.color_util import rgb2ycbcr_pt
from basicsr.utils.errors import DataError, OptionsError, Problem
from basicsr.utils.file_client import FileClient
from basicsr.utils.seeding import numpy_rng

Entry = Mapping[str, str]


class ImageDataset(Dataset[dict[str, Any]]):
    """Base of the data sets: ``Class(opt)`` from a block of an option file.

    Indexing gives a sample (a dict of tensors and paths) that is a function of ``seed`` and of the index's epoch and
    draw (:class:`~basicsr.data.data_sampler.SampleIndex`) alone. An image that cannot be used is replaced by the next
    one; ``sample['failed']`` then names it, a line each.

    Args:
        opt: The block; see ``Options`` for its keys.

    Raises:
        OptionsError: For mistakes in the block.
        DataError: For files that are missing or do not match.
    """

    Options: ClassVar[type[DatasetOptions]] = DatasetOptions

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.opt = opt
        self.options: Any = parse_options(type(self).Options, opt)
        self._refuse_conflicts()
        self.prepare_files(self.options)
        self.paths = self.list_entries(self.options)
        if not self.paths:
            raise DataError(f"data set {self.name}: no image found")
        self._clients: FileClient | None = None

    @property
    def name(self) -> str:
        return self.options.name or type(self).__name__

    @property
    def is_training(self) -> bool:
        return self.options.phase == "train"

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        epoch, draw = describe_visit(index)
        failures: list[str] = []
        for offset in range(self._count_tries()):
            entry = self.paths[(int(index) + offset) % len(self.paths)]
            try:
                sample = self.load_sample(entry, numpy_rng("augment", self.options.seed, epoch, draw))
            except SampleError as error:
                failures.append(str(error).replace("\n", " "))
                continue
            return {**sample, FAILED_KEY: "\n".join(failures)}
        return {FAILED_KEY: "\n".join(failures)}

    def _count_tries(self) -> int:
        """In training one more than may fail, past which the run stops; an evaluation replaces no image by another."""
        if not self.is_training:
            return 1
        return min(len(self.paths), largest_allowed(self.options.max_failed_share, len(self.paths)) + 1)

    def _refuse_conflicts(self) -> None:
        conflicts = self.options.find_conflicts()
        if conflicts:
            raise OptionsError([Problem(self.name, message) for message in conflicts])

    @classmethod
    def check_files(cls, options: Any) -> list[str]:
        """Verifies a block before training: that its options fit together and its files are there and match.

        Args:
            options: The block or its ``Options``.

        Returns:
            Every mistake in a sentence that names the file and what to do; empty if there is none.
        """
        parsed = parse_options(cls.Options, options)
        problems = parsed.find_conflicts()
        try:
            cls.prepare_files(parsed)
            entries = cls.list_entries(parsed)
        except DataError as error:
            return problems + (error.problems if isinstance(error, SourceError) else [str(error)])
        return problems + cls.check_entries(parsed, entries)

    @classmethod
    def prepare_files(cls, options: Any) -> None:
        """Makes the files on first use, for data sets that can."""

    @classmethod
    def list_entries(cls, options: Any) -> list[dict[str, str]]:
        """Lists the images, ``{'gt_path': …}`` each; raises ``DataError`` if sources are missing or do not match."""
        raise NotImplementedError

    @classmethod
    def check_entries(cls, options: Any, entries: list[dict[str, str]]) -> list[str]:
        """Verifies listed files; returns what is wrong."""
        return []

    def load_sample(self, entry: Entry, rng: np.random.Generator) -> dict[str, Any]:
        """Makes one sample; raises ``SampleError`` if an image of it cannot be used."""
        raise NotImplementedError

    def _database_paths(self) -> dict[str, str]:
        """LMDB databases by client key."""
        return {"gt": self.options.dataroot_gt}

    def read_image(self, path: str, client_key: str = "gt") -> np.ndarray:
        """Reads and decodes one image of this data set.

        Returns:
            (H, W, 3) BGR, uint8 or uint16.

        Raises:
            SampleError: If it cannot be read.
        """
        if self._clients is None:
            databases = self._database_paths()
            backend = self.options.io_backend.type
            arguments = {"db_paths": list(databases.values()), "client_keys": list(databases)}
            self._clients = FileClient(backend, **(arguments if backend == "lmdb" else {}))
        try:
            content = self._clients.get(path, client_key)
        except FileNotFoundError:
            raise SampleError(f"{path}: no such file") from None
        except (OSError, DataError) as error:
            raise SampleError(f"{path}: cannot be read ({error})") from error
        return decode_image(content, path)

    def draw_square(self, image: np.ndarray, size: int, path: str, rng: np.random.Generator) -> np.ndarray:
        """Cuts a random square out of an image (a view).

        Raises:
            SampleError: If the image is smaller.
        """
        height, width = image.shape[:2]
        if min(height, width) < size:
            raise SampleError(f"{path}: {height}x{width} pixels, smaller than gt_size {size}")
        top, left = draw_offset(rng, height - size), draw_offset(rng, width - size)
        return image[top : top + size, left : left + size]

    def to_tensors(self, images: list[np.ndarray], rng: np.random.Generator) -> list[torch.Tensor]:
        """Turns images of one sample in the same random way (in training), then into normalised RGB tensors."""
        if self.is_training and (self.options.use_hflip or self.options.use_rot):
            symmetry = draw_symmetry(rng, self.options.use_hflip, self.options.use_rot)
            images = [flip_and_transpose(image, *symmetry) for image in images]
        return [self._normalise(image_to_tensor(image)) for image in images]

    def _normalise(self, image_CHW: torch.Tensor) -> torch.Tensor:
        if getattr(self.options, "color", None) == "y":
            image_CHW = rgb2ycbcr_pt(image_CHW[None], y_only=True)[0]
        if self.options.mean is not None:
            image_CHW -= torch.tensor(self.options.mean).view(-1, 1, 1)
        if self.options.std is not None:
            image_CHW /= torch.tensor(self.options.std).view(-1, 1, 1)
        return image_CHW
