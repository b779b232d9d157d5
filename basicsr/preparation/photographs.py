"""A small data set of real photographs, made from those that scikit-image ships; no network is needed.

Held out, never trained on: ``astronaut`` (portrait, fine structure) and ``motorcycle`` (metal, spokes, lettering), the
two colour photographs on which bicubic interpolation loses most and a small network gains most. The other half of the
motorcycle's stereo pair shows the same scene and is left out.

Trained on: ``chelsea``, ``coffee``, ``rocket`` and ``immunohistochemistry`` in colour, ``camera`` in gray. The
microscope's blue and purple are in none of the others, and a network that never saw them turns them gray. Left out:
``coins`` (gray too), ``hubble_deep_field``, ``retina`` and ``moon`` (almost no detail at x4), ``brick``, ``grass`` and
``gravel`` (texture without edges; they pull a small network away from photographs), ``page`` and ``text`` (scans). The
five pictures are cut into sub-images, because decoding a whole one for one small crop would cost more than the training
step of a small network.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.data.paired_image_dataset import find_photographs_root
from basicsr.data.transforms import mod_crop, reduce_bicubic
from basicsr.preparation.subimages import list_offsets
from basicsr.utils.atomic import atomic_write_json, hash_file
from basicsr.utils.errors import DataError
from basicsr.utils.images import Folder, write_png

TRAIN_PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "immunohistochemistry", "camera")
VAL_PHOTOGRAPHS = ("astronaut", "motorcycle")

# A common multiple of the scales 1, 2, 3 and 4, so that one HR folder serves all of them.
_SIDE_MULTIPLE = 12
_RECIPE = 2


def load_photograph(name: str) -> np.ndarray:
    """One of scikit-image's photographs, (H, W, 3) BGR or (H, W) uint8.

    Raises:
        DataError: If this installation of scikit-image does not ship it.
    """
    from skimage import data

    try:
        image = np.asarray(data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)())
    except Exception as error:
        reason = f"scikit-image does not give the photograph {name!r} ({type(error).__name__}: {error})"
        raise DataError(f"{reason}; reinstall it: pip install --force-reinstall scikit-image") from error
    return np.ascontiguousarray(image[:, :, ::-1]) if image.ndim == 3 else image


def prepare_photographs(
    root: Folder = "datasets/photographs", scale: int = 4, sub_image_size: int | None = 192, sub_image_step: int = 96
) -> Path:
    """Makes the data set, or what is missing or damaged of it; does nothing if it is complete.

    ``root/{train,val}/HR`` and ``root/{train,val}/LR_bicubic/X{scale}`` hold 8-bit PNG files of equal names: whole
    photographs in ``val``, overlapping sub-images in ``train``. LR is the MATLAB-style bicubic reduction of the whole
    photograph. ``root/manifest_X{scale}.json`` is written last and lists every file with its digest.

    Several processes may call this at the same time: files appear whole, and all write the same.

    Args:
        root: Folder to make.
        scale: HR pixels per LR pixel; divides 12.
        sub_image_size: Side of the HR sub-images for training; None: whole photographs.
        sub_image_step: Pixels between neighbouring sub-images.

    Returns:
        ``root``.

    Raises:
        DataError: If an option is out of range or a photograph is not shipped.
    """
    folder, manifest_path = Path(root), Path(root) / f"manifest_X{scale}.json"
    header = _describe(scale, sub_image_size, sub_image_step)
    # Find the photographs of which everything is there.
    known = _read_manifest(manifest_path, header)
    torn = {entry["photograph"] for path, entry in known.items() if not _has_digest(folder / path, entry["sha256"])}
    intact = {entry["photograph"] for entry in known.values()} - torn
    files = {path: entry for path, entry in known.items() if entry["photograph"] in intact}
    damaged = [name for name in (*TRAIN_PHOTOGRAPHS, *VAL_PHOTOGRAPHS) if name not in intact]
    if not damaged:
        return folder
    # Make the others.
    logging.getLogger("basicsr").info("making the photographs data set in %s", folder)
    for name in damaged:
        part, size = ("val", None) if name in VAL_PHOTOGRAPHS else ("train", sub_image_size)
        for path, image in _render(part, name, scale, size, sub_image_step):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_png(image, folder / path)
            digest = hash_file(folder / path, hashlib.sha256())
            files[path] = {"photograph": name, "sha256": digest, "height": image.shape[0], "width": image.shape[1]}
    # Remove images of an earlier recipe, which would not match any more.
    for part, kind in product(("train", "val"), ("HR", f"LR_bicubic/X{scale}")):
        for file in (folder / part / kind).glob("*.png"):
            if file.relative_to(folder).as_posix() not in files:
                file.unlink(missing_ok=True)
    atomic_write_json({**header, "files": dict(sorted(files.items()))}, manifest_path)
    return folder


def prepare_block(block: Mapping[str, Any]) -> None:
    """Makes the files of a data set's block that has ``prepare: photographs``; others are left alone.

    Raises:
        DataError: If the folders are not ``ROOT/{train,val}/HR`` and ``ROOT/{train,val}/LR_bicubic/X{scale}``.
    """
    if block.get("prepare") == "photographs":
        scale = block.get("scale")
        root = find_photographs_root(block["dataroot_gt"], block.get("dataroot_lq"), scale)
        prepare_photographs(root, scale or 4)


def _describe(scale: int, sub_image_size: int | None, sub_image_step: int) -> dict[str, Any]:
    """What all files of the data set depend on, checked."""
    if scale < 1 or _SIDE_MULTIPLE % scale:
        raise DataError(f"photographs: scale must be 1, 2, 3, 4, 6 or 12, got {scale}")
    sides = {"sub_image_size": sub_image_size, "sub_image_step": sub_image_step}
    for name, value in sides.items():
        if value is not None and (value < _SIDE_MULTIPLE or value % _SIDE_MULTIPLE):
            raise DataError(f"photographs: {name} must be a multiple of {_SIDE_MULTIPLE}, got {value}")
    return {
        "recipe": _RECIPE,
        "source": "photographs shipped by scikit-image (skimage.data documents their authors and licences)",
        "reduction": "MATLAB-style bicubic with antialiasing, rounded to 8 bits",
        "train": list(TRAIN_PHOTOGRAPHS),
        "val": list(VAL_PHOTOGRAPHS),
        "scale": scale,
        **sides,
    }


def _read_manifest(manifest_path: Path, header: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The files that an earlier call listed; none if there is no manifest or it is of another recipe."""
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        files = manifest.pop("files")
        return files if manifest == header else {}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}


def _has_digest(path: Path, digest: str) -> bool:
    return path.is_file() and hash_file(path, hashlib.sha256()) == digest


def _render(part: str, name: str, scale: int, size: int | None, step: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (relative path, image) of everything made from one photograph; ``size`` None: it stays whole."""
    hr = mod_crop(load_photograph(name), _SIDE_MULTIPLE)
    lr = reduce_bicubic(hr, scale)
    hr_folder, lr_folder = f"{part}/HR", f"{part}/LR_bicubic/X{scale}"
    if size is None:
        yield from ((f"{hr_folder}/{name}.png", hr), (f"{lr_folder}/{name}.png", lr))
        return
    if size > min(hr.shape[:2]):
        raise DataError(f"photographs: sub_image_size {size} is larger than a photograph of {min(hr.shape[:2])} pixels")
    corners = product(list_offsets(hr.shape[0], size, step), list_offsets(hr.shape[1], size, step))
    for number, (top, left) in enumerate(corners, 1):
        file = f"{name}_s{number:03d}.png"
        yield f"{hr_folder}/{file}", hr[top : top + size, left : left + size]
        top, left, side = top // scale, left // scale, size // scale
        yield f"{lr_folder}/{file}", lr[top : top + side, left : left + side]
