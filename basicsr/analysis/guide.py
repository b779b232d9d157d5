"""Guide files: which images a test set has and what people thought of them."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from basicsr.analysis.images import BadFile
from basicsr.utils.errors import DataError


@dataclass(frozen=True)
class Guide:
    """Mean opinion scores by image name, in file order, and the lines that could not be read."""

    scores: Mapping[str, float]
    bad_lines: tuple[BadFile, ...] = ()

    def find_images(self, folder: str | os.PathLike[str]) -> tuple[dict[str, Path], list[BadFile]]:
        """The files in a folder of the images it names, by name, and the names without a file.

        Raises:
            DataError: If the folder is missing, or holds none of the images.
        """
        root = Path(folder)
        if not root.is_dir():
            raise DataError(f"no such folder: {root}")
        paths = {name: root / name for name in self.scores if (root / name).is_file()}
        missing = [BadFile(name, f"no such file in {root}") for name in self.scores if name not in paths]
        if not paths:
            raise DataError(f"{root} holds none of the images in the guide file, such as {missing[0].name}")
        return paths, missing


def read_guide(path: str | os.PathLike[str]) -> Guide:
    """Reads a guide file: ``image_name,MOS`` per line; blank lines and a header are passed over.

    Lines without a score, with a score that is not a number, or with a name given before are listed, not fatal.

    Raises:
        DataError: If the file cannot be read or holds no score at all.
    """
    try:
        text = Path(path).read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"guide file {path} cannot be read: {error}") from error
    scores: dict[str, float] = {}
    bad: list[BadFile] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        name, value = _split_line(line)
        if value is None and number == 1 and "," in line and "." not in name:
            continue
        problem = _find_problem(name, value, scores)
        if problem:
            bad.append(BadFile(f"{Path(path).name}, line {number}", f"{problem}: {line.strip()!r}"))
        else:
            assert value is not None
            scores[name] = value
    if not scores:
        shown = "\n".join(f"  {line}" for line in bad[:5])
        raise DataError(f"guide file {path} holds no line 'image_name,MOS'\n{shown}".rstrip())
    return Guide(scores, tuple(bad))


def _split_line(line: str) -> tuple[str, float | None]:
    name, _, score = line.rpartition(",")
    try:
        return name.strip(), float(score)
    except ValueError:
        return name.strip(), None


def _find_problem(name: str, value: float | None, scores: Mapping[str, float]) -> str:
    if not name:
        return "no score; expected 'image_name,MOS'"
    if value is None or not math.isfinite(value):
        return "the score is not a number"
    if name in scores:
        return "the name was given before"
    return ""
