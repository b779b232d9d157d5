"""Names for images of a data set, unique within it, and the files that results are written to."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

_IMAGE_SUFFIX = re.compile(r"\.(png|jpe?g|bmp|tiff?|webp|ppm|pgm|gif)$", re.IGNORECASE)
_ROOTS = ("dataroot_lq", "dataroot_gt", "dataroot")


class ImageNamer:
    """Names images by their file: ``baby`` for ``<dataroot>/baby.png``, ``cats/01`` for ``<dataroot>/cats/01.png``.

    Where two files of a data set differ in their suffix alone, the suffix stays in their names.

    Args:
        dataset: A data set; its ``opt`` tells the roots and its ``paths`` the files, if it has them.
    """

    def __init__(self, dataset: Any) -> None:
        options = getattr(dataset, "opt", None) or {}
        roots = [options.get(key) for key in _ROOTS] if isinstance(options, Mapping) else []
        self._roots = [os.path.abspath(root) for root in roots if isinstance(root, str)]
        paths = dict.fromkeys(_list_paths(dataset))
        counts = Counter(self._without_suffix(path) for path in paths)
        self._ambiguous = {name for name, count in counts.items() if count > 1}
        self._order = {self.name_path(path): index for index, path in enumerate(paths)}

    def name_batch(self, batch: Mapping[str, Any], index: int) -> str:
        """The name of a batch of one image; its number where it has no path."""
        for key in ("lq_path", "gt_path"):
            path = batch.get(key)
            path = path[0] if isinstance(path, (list, tuple)) and path else path
            if isinstance(path, str) and path:
                return self.name_path(path)
        return f"{index:05d}"

    def place(self, name: str, default: int) -> int:
        """The number of a name in the data set's list of files; ``default`` where it has none."""
        return self._order.get(name, default)

    def name_path(self, path: str) -> str:
        """The name of one file."""
        name = self._without_suffix(path)
        return name + PurePosixPath(path).suffix.replace(".", "_") if name in self._ambiguous else name

    def _without_suffix(self, path: str) -> str:
        absolute = os.path.abspath(path)
        inside = [root for root in self._roots if absolute.startswith(root + os.sep)]
        if inside:
            path = os.path.relpath(absolute, max(inside, key=len))
        elif os.path.isabs(path):
            path = os.path.basename(path)
        # Else it is a key of a database, or a file of a data set that does not tell its root.
        parts = [part for part in path.replace(os.sep, "/").split("/") if part not in ("", ".", "..")]
        return _IMAGE_SUFFIX.sub("", "/".join(parts))


def _list_paths(dataset: Any) -> Iterable[str]:
    """The LQ files of a data set, or GT files where it has no others."""
    for entry in getattr(dataset, "paths", None) or ():
        if isinstance(entry, Mapping):
            entry = entry.get("lq_path") or entry.get("gt_path")
        if isinstance(entry, (str, os.PathLike)):
            yield os.fspath(entry)


def picture_path(opt: Mapping[str, Any], dataset_name: str, image_name: str, current_iter: int | str) -> Path:
    """Where the generated image goes.

    In training ``visualization/<image>/<image>_<iter>.png``; in a test
    ``visualization/<data set>/<image>_<suffix>.png`` with ``val.suffix`` or else the run's name.
    """
    folder = Path(opt["path"]["visualization"])
    name = PurePosixPath(image_name)
    if opt.get("is_train"):
        return folder / name / f"{name.name}_{current_iter}.png"
    ending = (opt.get("val") or {}).get("suffix") or opt["name"]
    return folder / dataset_name / name.parent / f"{name.name}_{ending}.png"
