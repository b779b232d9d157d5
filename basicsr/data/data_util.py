"""Finds the images of a data set in folders, meta-info files and LMDB databases; frame lists of video."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import torch

from basicsr.data.gaussian_reduction import duf_downsample as duf_downsample
from basicsr.data.gaussian_reduction import generate_gaussian_kernel as generate_gaussian_kernel
from basicsr.data.listings import Folder, MetaLine, SourceError, list_images, name_some, read_meta_info, refuse_missing
from basicsr.utils.errors import DataError
from basicsr.utils.img_util import imfrombytes, img2tensor, mod_crop


def paths_from_folder(folder: Folder) -> list[str]:
    """Sorted paths of the images in a folder, the folder's own path included."""
    return [os.path.join(folder, name) for name in list_images(folder)]


def _pick_layout(candidates: Sequence[Callable[[MetaLine], str]], lines: Sequence[MetaLine]) -> list[str]:
    """Applies to all lines the first rule whose result exists for the first line (else simply the first)."""
    rule = next((rule for rule in candidates if os.path.exists(rule(lines[0]))), candidates[0])
    return [rule(line) for line in lines]


def gt_paths_from_meta(folder: Folder, lines: Sequence[MetaLine]) -> list[str]:
    """GT paths: below ``folder``, or directly in it if the paths in the file start with other folders."""
    return _pick_layout(
        [
            lambda line: os.path.join(folder, line.gt),
            lambda line: os.path.join(folder, os.path.basename(line.gt)),
        ],
        lines,
    )


def _lq_paths_from_meta(lq: Folder, gt: Folder, lines: Sequence[MetaLine], filename_tmpl: str) -> list[str]:
    def apply_template(line: MetaLine) -> str:
        head, name = os.path.split(line.gt)
        stem, suffix = os.path.splitext(name)
        return os.path.join(head, filename_tmpl.format(stem) + suffix)

    def relative(line: MetaLine) -> str:
        return apply_template(line) if line.lq is None else line.lq

    return _pick_layout(
        [
            lambda line: os.path.join(lq, relative(line)),
            lambda line: os.path.join(lq, os.path.basename(relative(line))),
            lambda line: os.path.join(gt, relative(line)),
            lambda line: os.path.join(os.path.dirname(lq), relative(line)),
        ],
        lines,
    )


def match_folders(lq: Folder, gt: Folder, filename_tmpl: str) -> tuple[list[tuple[str, str]], list[str]]:
    """Pairs GT images with LQ images by name.

    A GT image ``name.png`` belongs to ``filename_tmpl.format('name') + '.png'``, or to an LQ image of that name with
    another suffix.

    Returns:
        (LQ path, GT path) pairs in GT order, and what does not fit, in sentences.
    """
    gt_names, lq_names = list_images(gt), list_images(lq)
    by_stem: dict[str, str] = {}
    for name in lq_names:
        by_stem.setdefault(os.path.splitext(name)[0], name)
    known, used = set(lq_names), set()
    pairs, missing = [], []
    for name in gt_names:
        stem, suffix = os.path.splitext(name)
        wanted = filename_tmpl.format(stem)
        partner = wanted + suffix if wanted + suffix in known else by_stem.get(wanted)
        if partner is None:
            missing.append(wanted + suffix)
        else:
            used.add(partner)
            pairs.append((os.path.join(lq, partner), os.path.join(gt, name)))
    surplus = [name for name in lq_names if name not in used]
    return pairs, _describe_mismatch(lq, gt, (len(lq_names), len(gt_names)), missing, surplus)


def _describe_mismatch(
    lq: Folder, gt: Folder, counts: tuple[int, int], missing: Sequence[str], surplus: Sequence[str]
) -> list[str]:
    problems = []
    for folder, count in ((gt, counts[1]), (lq, counts[0])):
        if count == 0:
            problems.append(f"{folder}: no image in this folder")
    if problems:
        return problems
    if counts[0] != counts[1]:
        problems.append(f"{gt} has {counts[1]} images but {lq} has {counts[0]}")
    if missing:
        problems.append(f"{lq} lacks {name_some(missing)} (names follow from {gt} and filename_tmpl)")
    if surplus:
        problems.append(f"{lq} has images without a partner in {gt}: {name_some(surplus)}; check filename_tmpl")
    return problems


def _in_key_order(pairs: Iterable[tuple[str, str]], keys: Sequence[str]) -> list[dict[str, str]]:
    first, second = (f"{key}_path" for key in keys)
    return [{first: a, second: b} for a, b in pairs]


def paired_paths_from_folder(
    folders: Sequence[Folder], keys: Sequence[str], filename_tmpl: str = "{}"
) -> list[dict[str, str]]:
    """Pairs the images of two folders by name.

    Args:
        folders: LQ folder, GT folder.
        keys: Their names, e.g. ``lq`` and ``gt``.
        filename_tmpl: Makes the LQ name from the GT name (both without suffix).

    Returns:
        ``{'lq_path': …, 'gt_path': …}`` for each pair.

    Raises:
        DataError: If the folders do not match.
    """
    lq, gt = folders
    pairs, problems = match_folders(lq, gt, filename_tmpl)
    if problems:
        raise SourceError(problems)
    return _in_key_order(pairs, keys)


def paired_paths_from_meta_info_file(
    folders: Sequence[Folder], keys: Sequence[str], meta_info_file: Folder, filename_tmpl: str = "{}"
) -> list[dict[str, str]]:
    """Pairs the images that a meta-info file lists.

    A line without an LQ path gets the GT path through ``filename_tmpl``. LQ paths are looked for below the LQ folder,
    directly in it, below the GT folder and beside the LQ folder; where the first one is, all are taken to be.

    Args:
        folders: LQ folder, GT folder.
        keys: Their names, e.g. ``lq`` and ``gt``.
        meta_info_file: See :func:`read_meta_info`.
        filename_tmpl: Makes the LQ name from the GT name (both without suffix).

    Returns:
        ``{'lq_path': …, 'gt_path': …}`` for each line.

    Raises:
        DataError: If the file cannot be read.
    """
    lq, gt = folders
    lines = read_meta_info(meta_info_file)
    return _in_key_order(zip(_lq_paths_from_meta(lq, gt, lines, filename_tmpl), gt_paths_from_meta(gt, lines)), keys)


def read_lmdb_meta(folder: Folder) -> dict[str, tuple[int, int]]:
    """Key -> (height, width) of every image in a database.

    Raises:
        DataError: If it is not a complete image database in the published format.
    """
    root = Path(folder)
    if root.suffix != ".lmdb":
        raise DataError(f"{root}: with io_backend lmdb the folder must be a database whose name ends in .lmdb")
    if not (root / "data.mdb").is_file():
        raise DataError(f"{root}: no LMDB database there; scripts/data_preparation/create_lmdb.py makes one")
    entries = {}
    for line in read_meta_info(root / "meta_info.txt"):
        if line.size is None:
            raise DataError(f"{root / 'meta_info.txt'}: expected 'name.png (h,w,c) level' for {line.gt!r}")
        entries[os.path.splitext(line.gt)[0]] = line.size
    return entries


def paths_from_lmdb(folder: Folder) -> list[str]:
    """The keys of an image database."""
    return list(read_lmdb_meta(folder))


def paired_paths_from_lmdb(folders: Sequence[Folder], keys: Sequence[str]) -> list[dict[str, str]]:
    """Pairs the images of two databases by key.

    Args:
        folders: LQ database, GT database.
        keys: Their names, e.g. ``lq`` and ``gt``.

    Raises:
        DataError: If the databases do not hold the same keys.
    """
    refuse_missing({f"dataroot_{key}": folder for key, folder in zip(keys, folders)})
    lq, gt = (read_lmdb_meta(folder) for folder in folders)
    if set(lq) != set(gt):
        odd = sorted(set(lq) ^ set(gt))
        raise DataError(f"{folders[0]} and {folders[1]} hold different keys: {name_some(odd)} in only one of them")
    return _in_key_order(((key, key) for key in gt), keys)


_OUT_OF_RANGE: dict[str, Callable[[int, int, int, int], int]] = {
    # (frame, last frame, centre, frames each side); a negative frame is before the first, a large one after the last.
    "replicate": lambda frame, last, centre, side: min(max(frame, 0), last),
    "reflection": lambda frame, last, centre, side: -frame if frame < 0 else 2 * last - frame,
    "reflection_circle": lambda frame, last, centre, side: (
        centre + side - frame if frame < 0 else centre - side - (frame - last)
    ),
    "circle": lambda frame, last, centre, side: frame + 2 * side + 1 if frame < 0 else frame - 2 * side - 1,
}


def generate_frame_indices(crt_idx: int, max_frame_num: int, num_frames: int, padding: str = "reflection") -> list[int]:
    """Indices of the frames around a centre frame, padded at the ends of the video.

    Args:
        crt_idx: Centre frame, from 0.
        max_frame_num: Frames in the video.
        num_frames: Frames wanted; odd.
        padding: ``replicate``, ``reflection``, ``reflection_circle`` or ``circle``.

    Raises:
        ValueError: For an even ``num_frames`` or an unknown ``padding``.
    """
    if num_frames % 2 == 0:
        raise ValueError(f"num_frames must be odd, got {num_frames}")
    if padding not in _OUT_OF_RANGE:
        raise ValueError(f"padding must be one of {', '.join(_OUT_OF_RANGE)}; got {padding!r}")
    last, side = max_frame_num - 1, num_frames // 2
    pad = _OUT_OF_RANGE[padding]
    frames = range(crt_idx - side, crt_idx + side + 1)
    return [frame if 0 <= frame <= last else pad(frame, last, crt_idx, side) for frame in frames]


def read_img_seq(
    path: Folder | Sequence[str], require_mod_crop: bool = False, scale: int = 1, return_imgname: bool = False
) -> Any:
    """Reads the images of a folder (or a list of files) as one tensor.

    Args:
        path: Folder, or image files.
        require_mod_crop: Cut the sides to multiples of ``scale``.
        scale: See above.
        return_imgname: Also return the names without suffix.

    Returns:
        (T, C, H, W) RGB float32 in [0, 1].
    """
    files = paths_from_folder(path) if isinstance(path, (str, os.PathLike)) else list(path)
    if not files:
        raise DataError(f"{path}: no image to read")
    images = [imfrombytes(Path(file).read_bytes(), float32=True) for file in files]
    if require_mod_crop:
        images = [mod_crop(image, scale) for image in images]
    frames = torch.stack(img2tensor(images))
    return (frames, [Path(file).stem for file in files]) if return_imgname else frames
