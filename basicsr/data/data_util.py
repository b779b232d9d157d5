"""Finds the images of a data set in folders, meta-info files and LMDB databases; frames of video."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from scipy.ndimage import gaussian_filter1d

from basicsr.data.listings import SourceError, read_meta_info
from basicsr.utils.errors import DataError, Problem, name_some
from basicsr.utils.images import Folder, image_to_tensor, list_images, read_image
from basicsr.utils.img_util import mod_crop
from basicsr.utils.misc import scandir as scandir


def note_subfolders(folder: Folder) -> None:
    """Says in the log which sub-folders hold images that a data set without sub-folders leaves out."""
    paths = (entry.path for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    holding = [path for path in sorted(paths) if list_images(path)]
    if holding:
        remedy = "list them in a meta_info_file (basicsr data meta)"
        message = "%s: images in its sub-folders are not used: %s; to use them, %s"
        logging.getLogger("basicsr").warning(message, folder, name_some(list(map(os.path.basename, holding))), remedy)


def paths_from_folder(folder: Folder, recursive: bool = False) -> list[str]:
    """Sorted paths of the images in a folder, the folder's own path included."""
    return [os.path.join(folder, name) for name in list_images(folder, recursive)]


def place_paths(names: Sequence[str], *roots: Folder) -> list[str]:
    """Joins paths from a list with the root under which the first of them exists (else with the first root).

    In the first root the files may also lie without the folders that their paths start with.
    """
    flat: Sequence[str] = [os.path.basename(name) for name in names]
    layouts = [(roots[0], names), (roots[0], flat), *((root, names) for root in roots[1:])]
    found = (layout for layout in layouts if os.path.exists(os.path.join(layout[0], layout[1][0])))
    root, tails = next(found, layouts[0])
    return [os.path.join(root, tail) for tail in tails]


def match_folders(lq: Folder, gt: Folder, filename_tmpl: str) -> tuple[list[tuple[str, str]], list[Problem]]:
    """Pairs GT images with LQ images by name.

    A GT image ``name.png`` belongs to ``filename_tmpl.format('name') + '.png'``, or to an LQ image of that name with
    another suffix.

    Returns:
        (LQ path, GT path) pairs in GT order, and what does not fit, at ``dataroot_lq`` or ``dataroot_gt``.
    """
    gt_names, lq_names = list_images(gt), list_images(lq)
    for folder in (gt, lq):
        note_subfolders(folder)
    # Where images differ in their suffix alone, the first one counts.
    by_stem = {os.path.splitext(name)[0]: name for name in reversed(lq_names)}
    known, surplus, pairs, missing = set(lq_names), dict.fromkeys(lq_names), [], []
    for name in gt_names:
        stem, suffix = os.path.splitext(name)
        wanted = filename_tmpl.format(stem)
        partner = wanted + suffix if wanted + suffix in known else by_stem.get(wanted)
        if partner is None:
            missing.append(wanted + suffix)
        else:
            surplus.pop(partner, None)
            pairs.append((os.path.join(lq, partner), os.path.join(gt, name)))
    roots = (("dataroot_gt", gt, gt_names), ("dataroot_lq", lq, lq_names))
    empty = [Problem(option, f"{root}: no image in this folder") for option, root, names in roots if not names]
    if empty:
        return pairs, empty
    messages = []
    if len(gt_names) != len(lq_names):
        messages.append(f"{gt} has {len(gt_names)} images but {lq} has {len(lq_names)}")
    if missing:
        messages.append(f"{lq} lacks {name_some(missing)} (names follow from {gt} and filename_tmpl)")
    if surplus:
        messages.append(f"{lq} has images without a partner in {gt}: {name_some(list(surplus))}; check filename_tmpl")
    return pairs, [Problem("dataroot_lq", message) for message in messages]


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
    pairs, problems = match_folders(folders[0], folders[1], filename_tmpl)
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
    lq_names, gt_names = [], []
    for line in read_meta_info(meta_info_file):
        folder, name = os.path.split(line.gt)
        stem, suffix = os.path.splitext(name)
        lq_names.append(line.lq or os.path.join(folder, filename_tmpl.format(stem) + suffix))
        gt_names.append(line.gt)
    return _in_key_order(zip(place_paths(lq_names, lq, gt, os.path.dirname(lq)), place_paths(gt_names, gt)), keys)


def read_lmdb_meta(folder: Folder) -> dict[str, tuple[int, int]]:
    """Key -> (height, width) of every image in a database.

    Raises:
        DataError: If it is not a complete image database in the published format.
    """
    root = Path(folder)
    if root.suffix != ".lmdb":
        raise DataError(f"{root}: with io_backend lmdb the folder must be a database whose name ends in .lmdb")
    if not (root / "data.mdb").is_file():
        raise DataError(f"{root}: no LMDB database there; basicsr data lmdb makes one")
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
    lq, gt = (read_lmdb_meta(folder) for folder in folders)
    if odd := sorted(lq.keys() ^ gt.keys()):
        message = f"{folders[0]} and {folders[1]} hold different keys: {name_some(odd)} in only one of them"
        raise SourceError([Problem(f"dataroot_{keys[0]}", message)])
    return _in_key_order(((key, key) for key in gt), keys)


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
    last, side = max_frame_num - 1, num_frames // 2
    frames = np.arange(crt_idx - side, crt_idx + side + 1)
    # What stands for frames before the first one, and for frames after the last one.
    substitutes: dict[str, tuple[Any, Any]] = {
        "replicate": (0, last),
        "reflection": (-frames, 2 * last - frames),
        "reflection_circle": (crt_idx + side - frames, crt_idx - side + last - frames),
        "circle": (frames + num_frames, frames - num_frames),
    }
    if padding not in substitutes:
        raise ValueError(f"padding must be one of {', '.join(substitutes)}; got {padding!r}")
    return np.select([frames < 0, frames > last], substitutes[padding], frames).tolist()


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
    images = [mod_crop(read_image(file), scale if require_mod_crop else 1) for file in files]
    frames = torch.stack([image_to_tensor(image) for image in images])
    return (frames, [Path(file).stem for file in files]) if return_imgname else frames


def generate_gaussian_kernel(kernel_size: int = 13, sigma: float = 1.6) -> np.ndarray:
    """An isotropic Gaussian kernel: SciPy's Gaussian filter of a unit pulse.

    Args:
        kernel_size: Its side, odd.
        sigma: Standard deviation in pixels.

    Returns:
        (kernel_size, kernel_size) float64, sum 1.
    """
    pulse = np.zeros(kernel_size)
    pulse[kernel_size // 2] = 1
    profile = gaussian_filter1d(pulse, sigma)
    return np.outer(profile, profile)


def duf_downsample(x: torch.Tensor, kernel_size: int = 13, scale: int = 4) -> torch.Tensor:
    """Blurs frames by a Gaussian of σ = 0.4 ``scale`` and keeps every ``scale``-th pixel (DUF, Jo et al., CVPR 2018).

    Args:
        x: Frames (B, T, C, H, W) or (T, C, H, W).
        kernel_size: Side of the Gaussian kernel, odd; the image goes on by reflection.
        scale: 2, 3 or 4.

    Returns:
        (B, T, C, ⌈H / scale⌉, ⌈W / scale⌉), or the same without B.

    Raises:
        ValueError: If the scale is another, or ``x`` has another number of axes.
    """
    if scale not in (2, 3, 4):
        raise ValueError(f"duf_downsample: scale must be 2, 3 or 4, got {scale}")
    if x.ndim not in (4, 5):
        raise ValueError(f"duf_downsample: expected frames (B, T, C, H, W) or (T, C, H, W), got {tuple(x.shape)}")
    planes = x.reshape(-1, 1, *x.shape[-2:])
    kernel = torch.from_numpy(generate_gaussian_kernel(kernel_size, 0.4 * scale)).to(planes)
    padded = F.pad(planes, [kernel_size // 2] * 4, mode="reflect")
    reduced = F.conv2d(padded, kernel[None, None], stride=scale)
    return reduced.reshape(*x.shape[:-2], *reduced.shape[-2:])
