"""What is to be enlarged and where it goes: files, folders with their tree, patterns, standard input."""

from __future__ import annotations

import glob
import importlib.util
import logging
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import NamedTuple

from basicsr.analysis.images import BadFile
from basicsr.upscaling.pictures import FORMATS, has_suffix
from basicsr.utils.errors import UserError
from basicsr.utils.folders import walk_files

INSTALL = "pip install -e '.[video]'"
STANDARD = "-"
"""Standard input, and standard output."""
VIDEO_FORMATS = (".mp4", ".m4v", ".mov", ".mkv", ".webm")
"""Suffixes of videos that can be written."""
VIDEO_SUFFIXES = frozenset(
    {*VIDEO_FORMATS, ".avi", ".mpg", ".mpeg", ".ts", ".m2ts", ".mts", ".wmv", ".flv", ".3gp", ".ogv"}
)
"""Those that are read; of others than the first, results are Matroska files."""
_OTHER_MEDIA = frozenset({".gif", ".avif", ".heic", ".jxl", ".exr"}) | VIDEO_SUFFIXES
"""What nobody calls a folder."""

_say_once = cache(logging.getLogger("basicsr").warning)


@dataclass(frozen=True)
class Job:
    """One picture or video.

    Attributes:
        source: Its file; ``None``: standard input.
        target: Where the result goes; ``None``: standard output.
        suffix: That of the result's format; empty: that of the format in which the picture comes.
        share: Of a video that several processes share: which one's part it is, and of how many.
    """

    source: Path | None
    target: Path | None
    suffix: str = ""
    share: tuple[int, int] = (0, 1)

    @property
    def is_video(self) -> bool:
        """Whether it is a video."""
        return self.source is not None and is_video(self.source)

    @property
    def name(self) -> str:
        """What messages call it."""
        return "standard input" if self.source is None else str(self.source)


def is_video(path: Path) -> bool:
    """Whether a file is called a video."""
    return path.suffix.lower() in VIDEO_SUFFIXES


class Naming(NamedTuple):
    """How results are named.

    Attributes:
        output: A folder; or a file, for one picture or video; or ``-``.
        ending: What names end in, before their suffix.
        suffix: That of all results of its kind, pictures or videos; ``None``: that of the input.
    """

    output: str
    ending: str = ""
    suffix: str | None = None

    def target_of(self, inner: Path) -> Path:
        """The result's file of a picture whose name in the output folder, sub-folders included, is ``inner``."""
        suffix = inner.suffix if self._can_write(inner) else ".mkv" if is_video(inner) else ".png"
        if self.suffix and (self.suffix in VIDEO_FORMATS) == is_video(inner):
            suffix = self.suffix
        return Path(self.output) / inner.with_name(f"{inner.stem}{self.ending}{suffix}")

    @staticmethod
    def _can_write(path: Path) -> bool:
        return has_suffix(path) or path.suffix.lower() in VIDEO_FORMATS


def list_jobs(inputs: Sequence[str], naming: Naming) -> tuple[list[Job], list[BadFile]]:
    """Lists the pictures of a command line.

    Pictures of a folder, and of a pattern, keep their place in the tree below it; of several folders, each has its own
    in the output. What lies in the output folder is no input.

    Args:
        inputs: Files, folders, patterns, ``-``.
        naming: How results are named.

    Returns:
        The jobs, no two of one target, and inputs that are nothing.

    Raises:
        UserError: If a result would replace an input, or one file were to take several results.
    """
    if STANDARD in inputs:
        return [_make_standard_job(inputs, naming)], []
    if naming.output == STANDARD:
        raise UserError("-o - writes the picture that comes on standard input; give - as the input too")
    bad: list[BadFile] = []
    found: dict[Path, Path] = {}
    num_folders = sum(os.path.isdir(text) for text in inputs)
    for text in inputs:
        # Files that are named one by one may have one name in different folders.
        entries = dict(_expand(text, naming, num_folders > 1))
        if not entries:
            reason = "no such file" if not glob.has_magic(text) else "nothing has such a name"
            bad.append(BadFile(text, "holds no image" if os.path.isdir(text) else reason))
        found |= entries
    output = Path(naming.output)
    is_named = output.suffix.lower() in {*FORMATS, *_OTHER_MEDIA} and not output.is_dir()
    if found and is_named and ((len(found) == 1 and num_folders == 0) or output.suffix.lower() not in FORMATS):
        # The name of one result.
        kind, known = ("videos", VIDEO_FORMATS) if any(map(is_video, found)) else ("pictures", tuple(FORMATS))
        if output.suffix.lower() not in known:
            text = f"-o {output}: nothing here writes {output.suffix} files of {kind}"
            raise UserError(f"{text}; known are {', '.join(known)}")
        if len(found) > 1 or num_folders:
            raise UserError(f"-o {output} is a file; of several, name a folder")
        jobs = [Job(file, output, output.suffix) for file in found]
    elif found and output.is_file():
        raise UserError(f"-o {output} is a file; of several pictures, name a folder")
    else:
        jobs = _name_results(found, naming)
    _check_targets(jobs)
    return jobs, bad


def _make_standard_job(inputs: Sequence[str], naming: Naming) -> Job:
    if len(inputs) > 1:
        raise UserError("- stands for one picture on standard input; give it alone")
    if naming.suffix in VIDEO_FORMATS:
        raise UserError(f"--ext {naming.suffix[1:]}: standard input is one picture; known are {', '.join(FORMATS)}")
    if naming.output == STANDARD:
        return Job(None, None, naming.suffix or "")
    target = Path(naming.output)
    if not has_suffix(target):
        raise UserError(f"-o {target}: the result of standard input needs a file to write, such as {target}.png")
    return Job(None, target, target.suffix)


def _expand(text: str, naming: Naming, has_several_folders: bool) -> Iterator[tuple[Path, Path]]:
    """The pictures of one argument, with their names in the output folder."""
    path, output = Path(text), os.path.realpath(naming.output)
    if path.is_dir():
        above = Path(path.resolve().name) if has_several_folders else Path()
        for name in sorted(walk_files(path, recursive=True)):
            is_result = os.path.realpath(path / name).startswith(output + os.sep) and not _is_within(path, output)
            if _is_input(Path(name)) and not is_result:
                yield path / name, above / name
    elif os.path.lexists(path):
        if is_video(path) and not _can_read_videos():
            raise UserError(
                f"{path}: videos need PyAV, which is not installed: {INSTALL} in a checkout of this project"
            )
        yield path, Path(path.name)
    elif glob.has_magic(text):
        parts = path.parts
        first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
        base = Path(*parts[:first])
        for name in sorted(glob.glob(text, recursive=True)):
            if _is_input(Path(name)) and os.path.isfile(name):
                yield Path(name), Path(name).relative_to(base)


@cache
def _can_read_videos() -> bool:
    return importlib.util.find_spec("av") is not None


def _is_input(path: Path) -> bool:
    """Whether a file that is not named itself is upscaled: by its suffix."""
    if is_video(path) and not _can_read_videos():
        _say_once("videos are left out: they need PyAV (%s)", INSTALL)
        return False
    return path.suffix.lower() in FORMATS or is_video(path)


def _is_within(path: Path, output: str) -> bool:
    """Whether an input folder is the output folder, or in it."""
    return os.path.realpath(path) == output or os.path.realpath(path).startswith(output + os.sep)


def _name_results(found: dict[Path, Path], naming: Naming) -> list[Job]:
    """Gives every picture a target; where names clash, more of the path stays in them, or the suffix."""
    if max(Counter(found.values()).values(), default=1) > 1:
        above = os.path.commonpath([file.absolute().parent for file in found])
        found = {file: file.absolute().relative_to(above) for file in found}
    targets = {file: naming.target_of(inner) for file, inner in found.items()}
    counts = Counter(targets.values())
    jobs = [Job(file, target, target.suffix) for file, target in targets.items()]
    return [_keep_suffix(job) if counts[job.target or Path()] > 1 else job for job in jobs]


def _keep_suffix(job: Job) -> Job:
    """``a_jpg.png`` of ``a.jpg``, as another input also makes an ``a.png``."""
    assert job.source and job.target
    was = job.source.suffix.replace(".", "_")
    return replace(job, target=job.target.with_name(f"{job.target.stem}{was}{job.target.suffix}"))


def _check_targets(jobs: Sequence[Job]) -> None:
    sources = {os.path.realpath(job.source): job.source for job in jobs if job.source}
    targets: set[str] = set()
    for job in jobs:
        target = os.path.realpath(job.target or "")
        if target in sources:
            raise UserError(f"{sources[target]} would be replaced by a result; choose another -o or --suffix")
        if target in targets:
            raise UserError(f"two pictures would be written to {job.target}; upscale them one after the other")
        targets.add(target)
