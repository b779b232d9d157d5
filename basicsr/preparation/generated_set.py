"""Where a synthesised test set is, and what the records beside it say that its images were made with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from basicsr.preparation.generation_recipes import GenerationRecipe
from basicsr.preparation.output_folders import make_folder, refuse_mixing
from basicsr.utils.atomic import atomic_write_json
from basicsr.utils.errors import DataError

VERSION = 2
"""Of what is drawn from a seed and a name.

Images of different versions must not mix in one set; images that are reproduced stay of the version that drew them.
"""

_NEEDED = {"degradation", "scale", "seed", "kernels", "parameters"}


def describe_recipe(recipe: GenerationRecipe) -> dict[str, Any]:
    """What all images of a set have in common, as it is in their records."""
    return {
        "version": VERSION,
        "degradation": recipe.degradation,
        "scale": recipe.scale,
        "seed": recipe.seed,
        "options": json.loads(json.dumps(recipe.options)),
    }


def describe_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """The same from the record of an image; the first version's records name neither version nor options."""
    given = {key: record[key] for key in ("degradation", "scale", "seed")}
    return {"version": record.get("version", 1), **given, "options": record.get("options", {})}


def describe_records(records: Iterable[Mapping[str, Any]], manifest: str | Path) -> dict[str, Any]:
    """What images that are to be in one set have in common.

    Args:
        records: Of the images; one at least.
        manifest: Where they are from, for the message.

    Raises:
        DataError: If they were made with different options or by different versions.
    """
    first, *others = map(describe_record, records)
    for other in others:
        if other != first:
            raise DataError(
                f"{manifest} holds images of different options or versions ({_compare(other, first)}), which must not "
                "mix in one set; choose those of one kind with --only"
            )
    return first


@dataclass(frozen=True)
class GeneratedSet:
    """The folders of a set and what all of its images are made with.

    Attributes:
        source: The photographs.
        hr: Where the HR images go.
        lr: Where the LR images go; beside it are ``<lr>_manifest.json`` and its parts, ``<lr>_manifest/``.
        header: What :func:`describe_recipe` or :func:`describe_records` returns.
    """

    source: Path
    hr: Path
    lr: Path
    header: Mapping[str, Any]

    @classmethod
    def open(
        cls,
        input_folder: str | Path,
        hr_folder: str | Path,
        lr_folder: str | Path,
        names: Sequence[str],
        header: Mapping[str, Any],
    ) -> GeneratedSet:
        """Makes the output folders, once it is sure that nothing in the way can be lost or mixed.

        Raises:
            DataError: If the folders are not apart from each other, cannot be made, or hold images of another header,
                whichever images are to be made now.
        """
        opened = cls(Path(input_folder), Path(hr_folder), Path(lr_folder), header)
        targets = {"HR folder": opened.hr, "LR folder": opened.lr, "manifest folder": opened.parts}
        refuse_mixing({"input folder": opened.source}, targets, [opened.source / name for name in names])
        for name, record in opened.read_records().items():
            if describe_record(record) != header:
                raise DataError(
                    f"{opened.lr} was made with other options or by an earlier version "
                    f"({name} has {_compare(describe_record(record), header)}); choose another --lr_folder, or remove "
                    f"{opened.lr}, {opened.parts} and {opened.manifest} to make it again"
                )
        for folder in targets.values():
            make_folder(folder)
        return opened

    @property
    def parts(self) -> Path:
        """Folder of one file an image, so that shards never write the same."""
        return Path(f"{self.lr}_manifest")

    @property
    def manifest(self) -> Path:
        """All records in one file."""
        return Path(f"{self.lr}_manifest.json")

    def part(self, name: str) -> Path:
        """The record of an image."""
        return (self.parts / name).with_suffix(".json")

    def read_records(self) -> dict[str, dict[str, Any]]:
        """The records of all shards so far, by the name of the image."""
        known = _parse(self.manifest) if self.manifest.is_file() else {}
        for path in self._list_parts():
            record = _parse(path, one=True)
            known[record["name"]] = record
        return dict(sorted(known.items()))

    def collect_records(self) -> None:
        """Writes the manifest of all shards so far; again if another shard wrote a record meanwhile."""
        found: list[Path] | None = None
        while found != (present := self._list_parts()):
            found = present
            atomic_write_json(self.read_records(), self.manifest)

    def _list_parts(self) -> list[Path]:
        return sorted(self.parts.rglob("*.json"))


def read_manifest(path: Path) -> dict[str, dict[str, Any]]:
    """The records of a set, by the name of the image; one at least.

    Raises:
        DataError: If the file cannot be read or is none.
    """
    records = _parse(path)
    if not records:
        raise DataError(f"{path} lists no images; reproduce from the manifest of a set that has some")
    return records


def _parse(path: Path, *, one: bool = False) -> dict[str, Any]:
    """Reads records by name, or one record."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        needed = _NEEDED | {"name"} if one else _NEEDED
        if all(needed <= record.keys() for record in ([content] if one else content.values())):
            return content
    except OSError as error:
        raise DataError(f"manifest {path} cannot be read ({error.strerror})") from error
    except (ValueError, AttributeError):
        pass
    what = (
        "record of a generated image; remove it to have it made again"
        if one
        else ("manifest of a generated data set; it is called <lr_folder>_manifest.json")
    )
    raise DataError(f"{path} is no {what}")


def _compare(found: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {found[key]}, not {wanted[key]}" for key in wanted if found[key] != wanted[key])
