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
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.data.png_files import write_png
from basicsr.data.reduction import reduce_bicubic
from basicsr.data.transforms import mod_crop
from basicsr.utils.atomic import atomic_write_json, hash_file
from basicsr.utils.errors import DataError

TRAIN_PHOTOGRAPHS = ("chelsea", "coffee", "rocket", "immunohistochemistry", "camera")
VAL_PHOTOGRAPHS = ("astronaut", "motorcycle")

# A common multiple of the scales 1, 2, 3 and 4, so that one HR folder serves all of them.
_SIDE_MULTIPLE = 12
_RECIPE = 2


@dataclass(frozen=True)
class PhotographOptions:
    """What is made.

    Attributes:
        scale: HR pixels per LR pixel; divides 12.
        sub_image_size: Side of the HR sub-images for training; None: whole photographs.
        sub_image_step: Pixels between neighbouring sub-images; the last in a row or column ends at the edge.
    """

    scale: int = 4
    sub_image_size: int | None = 192
    sub_image_step: int = 96

    def __post_init__(self) -> None:
        if self.scale < 1 or _SIDE_MULTIPLE % self.scale:
            raise DataError(f"photographs: scale must be 1, 2, 3, 4, 6 or 12, got {self.scale}")
        for name, value in (("sub_image_size", self.sub_image_size), ("sub_image_step", self.sub_image_step)):
            if value is not None and (value < _SIDE_MULTIPLE or value % _SIDE_MULTIPLE):
                raise DataError(f"photographs: {name} must be a multiple of {_SIDE_MULTIPLE}, got {value}")


def load_photograph(name: str) -> np.ndarray:
    """One of scikit-image's photographs, (H, W, 3) BGR or (H, W) uint8.

    Raises:
        DataError: If this installation of scikit-image does not ship it.
    """
    from skimage import data

    try:
        image = np.asarray(data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)())
    except Exception as error:
        raise DataError(
            f"scikit-image does not give the photograph {name!r} ({type(error).__name__}: {error}); "
            "reinstall it: pip install --force-reinstall scikit-image"
        ) from error
    return np.ascontiguousarray(image[:, :, ::-1]) if image.ndim == 3 else image


def prepare_photographs(
    root: str | Path = "datasets/photographs",
    scale: int = 4,
    sub_image_size: int | None = 192,
    sub_image_step: int = 96,
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
    options = PhotographOptions(scale, sub_image_size, sub_image_step)
    folder = Path(root)
    manifest_path = folder / f"manifest_X{scale}.json"
    known = _read_manifest(manifest_path, options)
    files: dict[str, dict[str, Any]] = {}
    damaged = []
    for part, names in (("train", TRAIN_PHOTOGRAPHS), ("val", VAL_PHOTOGRAPHS)):
        for name in names:
            own = {path: entry for path, entry in known.items() if entry.get("photograph") == name}
            if own and all(_has_digest(folder / path, entry["sha256"]) for path, entry in own.items()):
                files.update(own)
            else:
                damaged.append((part, name))
    if not damaged:
        return folder
    logging.getLogger("basicsr").info("making the photographs data set in %s", folder)
    for part, name in damaged:
        for path, image in _render(part, name, options):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            write_png(image, folder / path)
            size = {"height": image.shape[0], "width": image.shape[1]}
            files[path] = {"photograph": name, "sha256": hash_file(folder / path, hashlib.sha256()), **size}
    _remove_others(folder, files, scale)
    atomic_write_json({**_describe(options), "files": dict(sorted(files.items()))}, manifest_path)
    return folder


def prepare_for_folders(dataroot_gt: str, dataroot_lq: str | None, scale: int | None) -> None:
    """Makes the data set that two folders of an option file belong to.

    Raises:
        DataError: If the folders are not ``ROOT/{train,val}/HR`` and ``ROOT/{train,val}/LR_bicubic/X{scale}``.
    """
    gt, size = Path(dataroot_gt), scale or 4
    expected_lq = gt.parent / "LR_bicubic" / f"X{size}"
    fits = gt.name == "HR" and gt.parent.name in ("train", "val")
    if not fits or (dataroot_lq is not None and Path(dataroot_lq) != expected_lq):
        raise DataError(
            f"prepare: photographs makes ROOT/{{train,val}}/HR and ROOT/{{train,val}}/LR_bicubic/X{size}; "
            f"dataroot_gt is {dataroot_gt} and dataroot_lq is {dataroot_lq}"
        )
    prepare_photographs(gt.parent.parent, size)


def _describe(options: PhotographOptions) -> dict[str, Any]:
    return {
        "recipe": _RECIPE,
        "source": "photographs shipped by scikit-image (skimage.data documents their authors and licences)",
        "reduction": "MATLAB-style bicubic with antialiasing, rounded to 8 bits",
        "train": list(TRAIN_PHOTOGRAPHS),
        "val": list(VAL_PHOTOGRAPHS),
        **asdict(options),
    }


def _read_manifest(manifest_path: Path, options: PhotographOptions) -> dict[str, dict[str, Any]]:
    """The files that an earlier call listed; none if there is no manifest or it is of another recipe."""
    try:
        manifest = json.loads(manifest_path.read_text(encoding="utf-8"))
        files = manifest.pop("files")
        return files if manifest == _describe(options) else {}
    except (OSError, ValueError, KeyError, AttributeError):
        return {}


def _has_digest(path: Path, digest: str) -> bool:
    try:
        return hash_file(path, hashlib.sha256()) == digest
    except OSError:
        return False


def _render(part: str, name: str, options: PhotographOptions) -> Iterator[tuple[str, np.ndarray]]:
    """Yields (relative path, image) of everything made from one photograph."""
    hr = mod_crop(load_photograph(name), _SIDE_MULTIPLE)
    lr = reduce_bicubic(hr, options.scale)
    lr_folder = f"{part}/LR_bicubic/X{options.scale}"
    if part == "val" or options.sub_image_size is None:
        yield f"{part}/HR/{name}.png", hr
        yield f"{lr_folder}/{name}.png", lr
        return
    size, scale = options.sub_image_size, options.scale
    corners = [
        (top, left)
        for top in _offsets(hr.shape[0], size, options.sub_image_step)
        for left in _offsets(hr.shape[1], size, options.sub_image_step)
    ]
    for number, (top, left) in enumerate(corners, 1):
        file = f"{name}_s{number:03d}.png"
        yield f"{part}/HR/{file}", hr[top : top + size, left : left + size]
        top, left, side = top // scale, left // scale, size // scale
        yield f"{lr_folder}/{file}", lr[top : top + side, left : left + side]


def _offsets(length: int, size: int, step: int) -> list[int]:
    if length < size:
        raise DataError(f"photographs: sub_image_size {size} is larger than a photograph of {length} pixels")
    return sorted({*range(0, length - size + 1, step), length - size})


def _remove_others(folder: Path, files: dict[str, dict[str, Any]], scale: int) -> None:
    """Removes images of an earlier recipe, which would not match any more."""
    for part in ("train", "val"):
        for kept in (folder / part / "HR", folder / part / "LR_bicubic" / f"X{scale}"):
            for path in kept.glob("*.png"):
                if path.relative_to(folder).as_posix() not in files:
                    path.unlink(missing_ok=True)
