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
from collections.abc import Mapping
from contextlib import suppress
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
_ENTRY = {"photograph", "sha256"}
"""What the manifest must say of a file."""


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
    # Find the photographs of which everything that the manifest lists is there; it counts if it is of this recipe.
    known: dict[str, dict[str, Any]] = {}
    with suppress(OSError, ValueError, KeyError, AttributeError):
        manifest = json.loads(manifest_path.read_bytes())
        listed = manifest.pop("files")
        known = listed if manifest == header and all(entry.keys() >= _ENTRY for entry in listed.values()) else {}
    intact = {entry["photograph"] for entry in known.values()}
    for path, entry in known.items():
        file = folder / path
        if not file.is_file() or hash_file(file, hashlib.sha256()) != entry["sha256"]:
            intact.discard(entry["photograph"])
    files = {path: entry for path, entry in known.items() if entry["photograph"] in intact}
    damaged = [name for name in (*TRAIN_PHOTOGRAPHS, *VAL_PHOTOGRAPHS) if name not in intact]
    if not damaged:
        return folder
    # Make the others.
    logging.getLogger("basicsr").info("making the photographs data set in %s", folder)
    for name in damaged:
        part, size = ("val", None) if name in VAL_PHOTOGRAPHS else ("train", sub_image_size)
        hr = mod_crop(load_photograph(name), _SIDE_MULTIPLE)
        height, width = hr.shape[:2]
        # Each file's first row and column, height and width, in HR pixels.
        windows = {f"{name}.png": (0, 0, height, width)}
        if size is not None:
            if size > min(height, width):
                what = f"sub_image_size {size} is larger than a photograph of {min(height, width)} pixels"
                raise DataError(f"photographs: {what}")
            corners = product(list_offsets(height, size, sub_image_step), list_offsets(width, size, sub_image_step))
            windows = {f"{name}_s{number:03d}.png": (*corner, size, size) for number, corner in enumerate(corners, 1)}
        for kind, factor, image in (("HR", 1, hr), (f"LR_bicubic/X{scale}", scale, reduce_bicubic(hr, scale))):
            for file_name, window in windows.items():
                top, left, rows, columns = (length // factor for length in window)
                path = f"{part}/{kind}/{file_name}"
                write_png(image[top : top + rows, left : left + columns], folder / path)
                digest = hash_file(folder / path, hashlib.sha256())
                files[path] = {"photograph": name, "sha256": digest, "height": rows, "width": columns}
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
