"""Base of all data sets of images: sources, keyed randomness, and images that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch.utils.data import Dataset

from basicsr.data.data_util import note_subfolders, paths_from_folder, paths_from_lmdb, place_paths, read_lmdb_meta
from basicsr.data.dataset_options import DatasetOptions, parse_options
from basicsr.data.entries import Entries
from basicsr.data.listings import (
    Entry,
    SizeReader,
    SourceError,
    check_sizes,
    largest_allowed,
    leave_out_small,
    read_meta_info,
)
from basicsr.data.loader import FAILED_KEY
from basicsr.data.transforms import draw_symmetry, flip_and_transpose
from basicsr.processing.color import rgb2ycbcr_pt
from basicsr.utils.errors import DataError, OptionsError, Problem, name_some
from basicsr.utils.file_client import FileClient, LmdbBackend
from basicsr.utils.images import (
    ImageError,
    decode_image,
    image_to_planes,
    image_to_tensor,
    read_image,
    read_image_shape,
    read_image_size,
)
from basicsr.utils.registry import is_own
from basicsr.utils.seeding import numpy_rng

_listings: dict[tuple[type, str], list[dict[str, str]]] = {}
"""Entries of data sets that have been checked and not yet built, by class and options."""


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
    provides: ClassVar[frozenset[str]] = frozenset()
    """Images and kernels of a sample, which a degradation may need."""
    RECURSIVE: ClassVar[bool] = False
    """Whether images in sub-folders of the data root belong to the set."""

    keeps_depth = False
    """Whether images come as they are stored, uint8 or uint16, where the options ask for no other values."""

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.opt = opt
        self.options: Any = parse_options(type(self).Options, opt)
        self.name: str = self.options.name or type(self).__name__
        if conflicts := self.options.find_conflicts():
            raise OptionsError(conflicts, f"data set {self.name}")
        # The check at the start has just listed large folders; what it found serves the data set that follows it.
        listed = _listings.pop((type(self), self.options.model_dump_json()), None)
        self.paths = Entries(self.find_entries(self.options) if listed is None else listed)
        roots = self.options.roots
        arguments = {"db_paths": list(roots.values()), "client_keys": list(roots)}
        kind = self.options.io_backend.type
        self.file_client = FileClient("lmdb", **arguments) if kind == "lmdb" else FileClient("disk")

        # Attributes that published data sets have, for code that derives from these.
        self.io_backend_opt = {"type": kind, **(arguments if kind == "lmdb" else {})}
        self.mean, self.std = self.options.mean, self.options.std
        self.gt_folder, self.lq_folder = roots.get("gt"), roots.get("lq")
        self.filename_tmpl = getattr(self.options, "filename_tmpl", "{}")

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> dict[str, Any]:
        # A plain integer is the first epoch's visit to that image.
        epoch, draw = getattr(index, "epoch", 0), getattr(index, "draw", int(index))
        failures: list[str] = []
        tries = 1  # An evaluation replaces no image by another.
        if self.options.is_training:
            # One more than may fail, past which the run stops.
            tries = min(len(self), largest_allowed(self.options.max_failed_share, len(self)) + 1)
        for offset in range(tries):
            entry = self.paths[(int(index) + offset) % len(self)]
            try:
                sample = self.load_sample(entry, numpy_rng("augment", self.options.seed, epoch, draw))
            except ImageError as error:
                failures.append(str(error).replace("\n", " "))
                continue
            return {**sample, FAILED_KEY: "\n".join(failures)}
        return {FAILED_KEY: "\n".join(failures)}

    @classmethod
    def check_files(cls, options: Any) -> list[Problem]:
        """Verifies a block before training: that its options fit together and its files are there and match.

        Args:
            options: The block or its ``Options``.

        Returns:
            Every mistake, at its option, in a sentence that names the file and what to do.
        """
        parsed = parse_options(cls.Options, options)
        problems = parsed.find_conflicts()
        try:
            entries = cls.find_entries(parsed)
        except DataError as error:
            return problems + (error.problems if isinstance(error, SourceError) else [Problem("", str(error))])
        _listings[cls, parsed.model_dump_json()] = entries
        if parsed.io_backend.type == "lmdb":
            problems += cls.check_databases(parsed, entries)
        smallest, share = parsed.gt_size if parsed.is_training else parsed.scale, parsed.max_failed_share
        readers = cls.size_readers(parsed)
        return problems + check_sizes(entries, readers, parsed.scale, smallest, parsed.is_training, share)

    @classmethod
    def check_databases(cls, options: Any, entries: list[dict[str, str]]) -> list[Problem]:
        """Opens the databases and looks for the keys of all entries."""
        problems = []
        for kind, root in options.roots.items():
            keys, option = [entry[f"{kind}_path"] for entry in entries], f"dataroot_{kind}"
            try:
                missing = LmdbBackend(root, kind).find_missing(keys, kind)
            except DataError as error:
                problems.append(Problem(option, str(error)))
                continue
            if missing:
                what = f"lacks {len(missing)} of the {len(keys)} entries that its meta_info.txt lists"
                problems.append(Problem(option, f"{root}: {what}: {name_some(missing)}"))
        return problems

    @classmethod
    def size_readers(cls, options: Any) -> dict[str, SizeReader]:
        """For each kind of image, from its path (or key) to its (height, width)."""
        if options.io_backend.type == "lmdb":
            return {kind: read_lmdb_meta(root).__getitem__ for kind, root in options.roots.items()}
        return dict.fromkeys(options.roots, read_image_size)

    @classmethod
    def find_entries(cls, options: Any) -> list[dict[str, str]]:
        """What :meth:`list_entries` lists, less the images that ``min_size`` leaves out.

        Raises:
            DataError: As :meth:`list_entries`, and if no image is left.
        """
        entries = cls.list_entries(options)
        if options.min_size is None:
            return entries
        kind, read = next(iter(cls.size_readers(options).items()))
        kept = leave_out_small(entries, kind, read, options.min_size)
        if not kept:
            raise SourceError([Problem("min_size", f"all {len(entries)} images are smaller than {options.min_size}")])
        return kept

    @classmethod
    def list_entries(cls, options: Any) -> list[dict[str, str]]:
        """Lists the images, ``{'gt_path': …}`` each, from the database, the list or the folder.

        Raises:
            DataError: If sources are missing, hold no image or do not match.
        """
        ((kind, root),) = options.roots.items()
        options.refuse_missing()
        if options.io_backend.type == "lmdb":
            paths = paths_from_lmdb(root)
        elif list_file := options.meta_info_file or options.meta_info:
            paths = place_paths([line.gt for line in read_meta_info(list_file)], root)
        else:
            paths = paths_from_folder(root, cls.RECURSIVE)
            if not cls.RECURSIVE:
                note_subfolders(root)
        if not paths:
            below = " or below it" if cls.RECURSIVE else ""
            raise SourceError([Problem(f"dataroot_{kind}", f"{root}: no image in this folder{below}")])
        return [{f"{kind}_path": path} for path in paths]

    def load_sample(self, entry: Entry, rng: np.random.Generator) -> dict[str, Any]:
        """Makes one sample; raises ``ImageError`` if an image of it cannot be used."""
        raise NotImplementedError

    def read_image(self, path: str, kind: str = "gt") -> np.ndarray:
        """Reads and decodes one image of this data set.

        Returns:
            (H, W, 3) BGR, uint8 or uint16.

        Raises:
            ImageError: If it cannot be read.
        """
        if self.io_backend_opt["type"] == "disk":
            return read_image(path)
        try:
            content = self.file_client.get(path, kind)
        except DataError as error:
            raise ImageError(path, f"cannot be read ({error})") from error
        return decode_image(content, path)

    def is_gray(self, path: str, kind: str = "gt") -> bool:
        """Whether an image of this data set is stored with one channel; by its header, if it is a file."""
        if self.io_backend_opt["type"] == "disk":
            return read_image_shape(path)[2] == 1
        return decode_image(self.file_client.get(path, kind), path, unchanged=True).ndim == 2

    def to_tensors(self, images: list[np.ndarray], rng: np.random.Generator) -> list[torch.Tensor]:
        """Turns images of one sample in the same random way (in training), then into normalised RGB tensors."""
        options = self.options
        if options.is_training and (options.use_hflip or options.use_rot):
            symmetry = draw_symmetry(rng, options.use_hflip, options.use_rot)
            images = [flip_and_transpose(image, *symmetry) for image in images]
        is_y = getattr(options, "color", None) == "y"
        if self.keeps_depth and not (is_y or options.mean or options.std):
            return [image_to_planes(image) for image in images]
        tensors = [image_to_tensor(image) for image in images]
        if is_y:
            tensors = [rgb2ycbcr_pt(image_CHW[None], y_only=True)[0] for image_CHW in tensors]
        if options.mean is not None:
            tensors = [image_CHW - torch.tensor(options.mean).view(-1, 1, 1) for image_CHW in tensors]
        if options.std is not None:
            tensors = [image_CHW / torch.tensor(options.std).view(-1, 1, 1) for image_CHW in tensors]
        return tensors


def keep_depth(dataset: object, keeps_depth: bool) -> None:
    """Says whether a data set gives images as they are stored; one of another package, which may compute with them,
    goes on to give floats."""
    if isinstance(dataset, ImageDataset) and is_own(type(dataset)):
        dataset.keeps_depth = keeps_depth
