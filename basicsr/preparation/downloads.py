"""Fetches and unpacks the public data sets."""

from __future__ import annotations

import logging
import os
import shutil
import tarfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from basicsr.utils.download_util import Checksum, download_file
from basicsr.utils.errors import DataError, UserError
from basicsr.utils.folders import sizeof_fmt
from basicsr.utils.images import Folder

_SNU = "https://cv.snu.ac.kr/research/EDSR"


class Archive(NamedTuple):
    """One file to fetch.

    Attributes:
        url: Where it is published.
        target: Folder below the data root that it is unpacked in.
        checksum: Its published digest; None if none is published.
        member: Only this folder of the archive is kept, and its leading folders are dropped; None: everything.
        shared: Other data sets are in it too, so that it is kept once it is unpacked.
    """

    url: str
    target: str
    checksum: Checksum | None = None
    member: str | None = None
    shared: bool = False


def _div2k(name: str, digest: str) -> Archive:
    return Archive(f"https://data.vision.ee.ethz.ch/cvl/DIV2K/{name}.zip", "DIV2K", Checksum("sha256", digest))


_BENCHMARK = Checksum("md5", "4ace41d33c2384b97e6b320cd0afd6ba")

# Digests: DIV2K as in TensorFlow Datasets; Flickr2K and the benchmark sets as in TorchSR. OST publishes none.
ARCHIVES: dict[str, tuple[Archive, ...]] = {
    "DIV2K": (
        _div2k("DIV2K_train_HR", "9d0b9c463f6e35b6c62cc6a930ee2224f670b34c1df841a57670f9acf0f6c335"),
        _div2k("DIV2K_train_LR_bicubic_X4", "f006b837f4eb52b82909aa01478e6d6d199eefce932179491d0c9dbb706dde3a"),
        _div2k("DIV2K_valid_HR", "20dd31fd84d777bc1cf5d6b7654a3f569c0aec74458ae094122ad1d0489900fc"),
        _div2k("DIV2K_valid_LR_bicubic_X4", "a50a5d1c4b88de4e8d300d8fb2b904c52fe93b2b298a4899697760d7cbb6d553"),
    ),
    "DIV2K_X2": (
        _div2k("DIV2K_train_LR_bicubic_X2", "a53a424317575838dadce4bcd97cf7b744d6855f43740ed5f0245af3cf4bd850"),
        _div2k("DIV2K_valid_LR_bicubic_X2", "60eed9875c697df51204aa579e2a699e1d5215095788a097ff54dd17e2664d57"),
    ),
    "DIV2K_X3": (
        _div2k("DIV2K_train_LR_bicubic_X3", "ad5c8e5507e2765823d3c2c5bd0934842efcd487c5370604c224090898b3163a"),
        _div2k("DIV2K_valid_LR_bicubic_X3", "04b9a2ed3b4a0715d3924d3ae8514830c3328fac8d30512ce716d6f419e052a3"),
    ),
    "Flickr2K": (
        Archive(f"{_SNU}/Flickr2K.tar", "Flickr2K", Checksum("md5", "5d3f39443d5e9489bff8963f8f26cb03"), "Flickr2K"),
    ),
    "OST": (Archive("https://openmmlab.oss-cn-hangzhou.aliyuncs.com/datasets/OST_dataset.zip", "OST"),),
    # The archive has BSD100 under the name B100.
    **{
        name: (Archive(f"{_SNU}/benchmark.tar", folder, _BENCHMARK, f"benchmark/{folder}", shared=True),)
        for name, folder in (("Set5", "Set5"), ("Set14", "Set14"), ("BSD100", "B100"), ("Urban100", "Urban100"))
    },
}
"""What each name fetches. The four benchmark sets come in one archive, with LR images for x2, x3 and x4."""


_MOST_UNPACKED = 20
"""Times the size of an archive that it may hold, beside 1 GiB: images hardly compress."""


def _refuse_bomb(packed: Path) -> None:
    """Raises ``DataError`` if an archive holds far more than its size lets expect, or more than fits on the disk."""
    if packed.suffix == ".zip":
        with zipfile.ZipFile(packed) as archive:
            size = sum(member.file_size for member in archive.infolist())
    else:
        with tarfile.open(packed) as tar:
            size = sum(member.size for member in tar)
    largest = min(_MOST_UNPACKED * packed.stat().st_size + 2**30, shutil.disk_usage(packed.parent).free)
    if size > largest:
        found = f"{packed} would unpack to {sizeof_fmt(size)}, more than {sizeof_fmt(largest)}"
        raise DataError(f"{found}: make room on the disk, or unpack it by hand if it is to be that large")


def download_dataset(
    name: str,
    root: Folder = "datasets",
    base_url: str | None = None,
    keep_archives: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Fetches and unpacks one data set; what is there already is left alone, what broke off goes on.

    Args:
        name: A key of :data:`ARCHIVES`.
        root: Data root.
        base_url: A mirror: files are fetched from ``base_url/FILE`` instead of where they are published.
        keep_archives: Do not delete archives once they are unpacked (the one of the benchmark sets never is).
        progress: Show progress bars.

    Returns:
        The folders.

    Raises:
        UserError: For an unknown name.
        DataError: If a file cannot be fetched, does not fit its checksum, or cannot be unpacked.
    """
    if name not in ARCHIVES:
        raise UserError(f"unknown data set {name!r}; known: {', '.join(ARCHIVES)}")
    folders = []
    for archive in ARCHIVES[name]:
        folders.append(folder := Path(root) / archive.target)
        file_name = archive.url.rsplit("/", 1)[-1]
        # Made last, so that it tells a complete folder from one whose unpacking was interrupted.
        marker = folder / f".{file_name}.unpacked"
        if marker.exists():
            logging.getLogger("basicsr").info("%s is unpacked in %s already", file_name, folder)
            continue
        # Fetch the file.
        url = f"{base_url.rstrip('/')}/{file_name}" if base_url else archive.url
        packed = download_file(url, Path(root) / "archives" / file_name, archive.checksum, progress)
        # Unpack it beside its target, then move what it holds in place; images of the same name are replaced.
        folder.mkdir(parents=True, exist_ok=True)
        unfinished = folder / f".{file_name}.unpacking"
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            _refuse_bomb(packed)
            # Python before 3.12 has the filter only in its later patch releases.
            safe = {"filter": "data"} if packed.suffix == ".tar" and hasattr(tarfile, "data_filter") else {}
            shutil.unpack_archive(packed, unfinished, **safe)  # type: ignore[arg-type]
            content = unfinished / archive.member if archive.member else unfinished
            if not content.is_dir():
                raise DataError(f"{packed} has no folder {archive.member}")
            shutil.copytree(content, folder, copy_function=os.replace, dirs_exist_ok=True)
        except (zipfile.BadZipFile, tarfile.TarError, EOFError, OSError) as error:
            raise DataError(f"{packed} cannot be unpacked ({error}); delete it and fetch it again") from error
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
        marker.touch()
        if not keep_archives and not archive.shared:
            packed.unlink()
    return folders
