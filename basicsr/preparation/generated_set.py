"""A synthesised test set: its folders, what its images are made with, and the records that say so for each image."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from basicsr.data.transforms import mod_crop
from basicsr.preparation.folders import describe_difference, describe_source, is_unchanged, note_change
from basicsr.preparation.generation_recipes import GenerationRecipe
from basicsr.utils.atomic import atomic_write_json
from basicsr.utils.errors import DataError
from basicsr.utils.images import image_to_tensor, read_image, round_to_8_bits, write_image
from basicsr.utils.img_util import tensor2img

VERSION = 2
"""Of what is drawn from a seed and a name.

Images of different versions must not mix in one set; images that are reproduced stay of the version that drew them.
"""

# What a record must have for its image to be made again.
_DRAWN = ("kernels", "parameters")
_NEEDED = {"degradation", "scale", "seed", *_DRAWN}

Record = dict[str, Any]


def describe_record(record: Mapping[str, Any]) -> Record:
    """What the record of an image has in common with those of its set.

    The first version's records name neither version nor options.
    """
    complete = {"version": 1, "options": {}, **record}
    return {key: complete[key] for key in ("version", "degradation", "scale", "seed", "options")}


class GeneratedSet:
    """The folders of a set and what all of its images are made with.

    Args:
        recipe: Degradation, scale and seed.
        source: The photographs, sub-folders included.
        hr: Where the HR images go.
        lr: Where the LR images go.
        version: Of what was drawn.

    Attributes:
        parts: Folder ``<lr>_manifest/`` of one file an image, so that shards never write the same.
        manifest: ``<lr>_manifest.json``, all records in one file.
        header: What is in the records of all images of the set, as JSON gives it back.
    """

    def __init__(self, recipe: GenerationRecipe, source: Path, hr: Path, lr: Path, version: int = VERSION) -> None:
        self.recipe, self.source, self.hr, self.lr = recipe, source, hr, lr
        self.parts, self.manifest = Path(f"{lr}_manifest"), Path(f"{lr}_manifest.json")
        self.header: Record = json.loads(json.dumps(describe_record({**vars(recipe), "version": version})))

    def read_records(self) -> dict[str, Record]:
        """The records of all shards so far, by the name of the image."""
        known = read_records(self.manifest) if self.manifest.is_file() else {}
        for path in sorted(self.parts.rglob("*.json")):
            known |= read_records(path, one=True)
        return dict(sorted(known.items()))

    def is_done(self, name: str) -> bool:
        """Whether an image and its record are there and its photograph has not changed since."""
        results = self._find_results(name)
        if not all(path.is_file() for path in results):
            return False
        (record,) = read_records(results[-1], one=True).values()
        # Records of the first version do not describe the photograph.
        if "source" in record and not is_unchanged(self.source / name, record["source"]):
            note_change(self.source / name)
            return False
        return True

    def make_image(self, name: str, known: Mapping[str, Any] | None = None) -> str | None:
        """Writes the HR and the LR image of a photograph, and their record.

        Args:
            name: The photograph.
            known: Record of the image to make again; None: draw new parameters.

        Returns:
            Why the photograph cannot be used; None if all went well.

        Raises:
            DataError: If the results cannot be written.
        """
        # One worker a core: threads of their own would only get in each other's way.
        torch.set_num_threads(1)
        # Read the photograph.
        path, scale = self.source / name, self.recipe.scale
        try:
            source = describe_source(path)
            image = round_to_8_bits(read_image(path))
            if known and "source" in known and not is_unchanged(path, known["source"]):
                return f"{path} is not the image that the manifest was made from: its digest differs"
        except (DataError, OSError) as error:
            return str(error)
        hr = mod_crop(image, scale)
        if not hr.size:
            return f"{path} is smaller than the scale {scale}"
        # Degrade it.
        height, width = hr.shape[:2]
        drawn = {key: known[key] for key in _DRAWN} if known else self.recipe.draw(name, height, width)
        lr = tensor2img(self.recipe.degrade(image_to_tensor(hr)[None], drawn))
        # Write both; the record comes last, as it says that they are there.
        hr_path, lr_path, part = self._find_results(name)
        try:
            write_image(hr, hr_path)
            write_image(lr, lr_path)
            facts = {"source": source, "height": height, "width": width}
            atomic_write_json({"name": name, **self.header, **facts, **drawn}, part)
        except OSError as error:
            raise DataError(f"the results of {name} cannot be written: {error}") from error
        return None

    def _find_results(self, name: str) -> tuple[Path, Path, Path]:
        """The HR image, the LR image and the record."""
        hr, lr = ((folder / name).with_suffix(".png") for folder in (self.hr, self.lr))
        return hr, lr, (self.parts / name).with_suffix(".json")


def read_records(path: Path, *, one: bool = False) -> dict[str, Record]:
    """Reads a manifest, or the record of ``one`` image; gives records by the name of the image.

    Raises:
        DataError: If the file cannot be read or is not a manifest or a record.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        records: dict[str, Record] = {content["name"]: content} if one else content
        if all(record.keys() >= _NEEDED for record in records.values()):
            return records
    except OSError as error:
        raise DataError(f"manifest {path} cannot be read ({error.strerror})") from error
    except (ValueError, AttributeError, KeyError, TypeError, RecursionError):
        pass
    record = "no record of a generated image; remove it to have it made again"
    manifest = "no manifest of a generated data set; it is called <lr_folder>_manifest.json"
    raise DataError(f"{path} is {record if one else manifest}")


def find_header(records: Iterable[Mapping[str, Any]], manifest: str | os.PathLike[str]) -> Record:
    """What images that are to be in one set have in common.

    Args:
        records: Of the images.
        manifest: Where they are from, for messages.

    Raises:
        DataError: If there are none, or they were made with different options or by different versions.
    """
    headers = list(map(describe_record, records))
    if not headers:
        raise DataError(f"{manifest} lists no images; reproduce from the manifest of a set that has some")
    for header in headers:
        if difference := describe_difference(header, headers[0]):
            found = f"{manifest} holds images of different options or versions ({difference})"
            raise DataError(f"{found}, which must not mix in one set; choose those of one kind with --only")
    return headers[0]
