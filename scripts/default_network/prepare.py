"""Makes the photographs that the default networks learn from and are measured on, of scikit-image and Debian packages.

    apt-get download mate-backgrounds plasma-workspace-wallpapers
    python scripts/default_network/prepare.py --packages . [--root datasets/default_network]

photographs.json lists each picture with its package, author, licence and SHA-256, and which are held out. Pictures of
the packages are JPEG files: they are halved first, which removes JPEG's traces. Sub-images that bicubic interpolation
all but restores, such as skies, teach nothing and are left out.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from basicsr.data.transforms import mod_crop, reduce_bicubic
from basicsr.engine.exits import run_to_exit_code
from basicsr.preparation.subimages import list_offsets
from basicsr.utils.errors import DataError, UserError
from basicsr.utils.images import decode_image, write_png

LIST = Path(__file__).with_name("photographs.json")
SCALE = 4
SIDE, STEP = 192, 160
"""Sub-images to train on, in HR pixels."""
LEAST_ERROR = 1.5
"""Levels of 255, root mean square, that bicubic interpolation must miss a sub-image by."""


def unpack(packages: Path, package: str, target: Path) -> None:
    """Unpacks the one Debian package of this name, without installing it.

    Raises:
        UserError: If its file is not in the folder.
    """
    files = sorted(packages.glob(f"{package}_*.deb"))
    if not files:
        raise UserError(f"{packages} has no {package}_*.deb; fetch it there: apt-get download {package}")
    subprocess.run(["dpkg-deb", "-x", str(files[-1]), str(target)], check=True)


def read_listed(entry: dict[str, Any], places: dict[str, Path]) -> np.ndarray:
    """A listed picture, (H, W, 3) uint8 BGR, halved if the list says so, cut to a multiple of the scale.

    Raises:
        DataError: If the file is another than the listed one.
    """
    file = places[entry["package"]] / entry["file"]
    content = file.read_bytes() if file.is_file() else b""
    if hashlib.sha256(content).hexdigest() != entry["sha256"]:
        raise DataError(f"{file} is not the picture that {LIST.name} lists: take the versions that it names")
    image = decode_image(content, str(file))
    image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR) if image.ndim == 2 else image
    if entry["halved"]:
        image = reduce_bicubic(mod_crop(image, 2), 2)
    return np.ascontiguousarray(mod_crop(image, SCALE))


def write_pairs(entry: dict[str, Any], image: np.ndarray, root: Path) -> int:
    """Writes a picture and its reduction, whole if it is held out, else as sub-images; returns how many."""
    reduced = reduce_bicubic(image, SCALE)
    height, width = image.shape[:2]
    if entry["part"] == "held_out":
        windows = {entry["name"]: (0, 0, height, width)}
    else:
        restored = cv2.resize(reduced, (width, height), interpolation=cv2.INTER_CUBIC)
        errors = (restored.astype(np.float32) - image) ** 2
        corners = product(list_offsets(height, SIDE, STEP), list_offsets(width, SIDE, STEP))
        windows = {
            f"{entry['name']}_s{number:03d}": (top, left, SIDE, SIDE)
            for number, (top, left) in enumerate(corners, 1)
            if errors[top : top + SIDE, left : left + SIDE].mean() > LEAST_ERROR**2
        }
    for kind, factor, whole in (("HR", 1, image), ("LR_bicubic/X4", SCALE, reduced)):
        for name, window in windows.items():
            top, left, rows, columns = (length // factor for length in window)
            write_png(whole[top : top + rows, left : left + columns], root / entry["part"] / kind / f"{name}.png")
    return len(windows)


def prepare(packages: Path, root: Path) -> None:
    """Makes ``root/{train,held_out}/{HR,LR_bicubic/X4}``."""
    import skimage

    listed = json.loads(LIST.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as unpacked:
        places = {name: Path(unpacked) for name in listed["versions"]}
        places["scikit-image"] = Path(skimage.__file__).parents[1]
        for package in places.keys() - {"scikit-image"}:
            unpack(packages, package, places[package])
        for entry in listed["photographs"]:
            number = write_pairs(entry, read_listed(entry, places), root)
            print(f"{entry['part']:8} {entry['name']:14} {number}", flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path, default=Path(), help="folder of the two .deb files (default: .)")
    parser.add_argument("--root", type=Path, default=Path("datasets/default_network"), help="default: %(default)s")
    args = parser.parse_args()
    prepare(args.packages, args.root)
    return 0


if __name__ == "__main__":
    sys.exit(run_to_exit_code(main))
