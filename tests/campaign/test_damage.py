"""Damaged files of every kind that is loaded are refused by name, or read to the values that they held."""

from __future__ import annotations

import pickle
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from campaign_plan import Plan, Tally
from forks import Case, run_cases

from basicsr.analysis.opinions import read_guide
from basicsr.analysis.statistics import ProfileStatistics
from basicsr.data.listings import read_meta_info
from basicsr.models.checkpoint import load_checkpoint
from basicsr.options.load import load_file
from basicsr.utils.errors import UserError
from basicsr.utils.file_client import LmdbBackend
from basicsr.utils.images import decode_image, read_image
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from basicsr.weights.files import read_file, write_tensors

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(0)]

WHOLE = 500
PHOTOGRAPH = skimage.data.astronaut()[40:136, 180:308, ::-1]
STATE = {
    "conv.weight": torch.rand(16, 3, 3, 3, generator=torch.Generator().manual_seed(0)),
    "conv.bias": torch.zeros(16),
}


def write_checkpoint(path: Path) -> None:
    content = {
        "format": 1,
        "iter": 5,
        "epoch": 0,
        "sampler": {"epoch": 0, "consumed": 10, "epoch_ranks": 1, "world_size": 1},
        "model": {"networks": {"net_g": STATE}},
        "rank_states": [{"random": STATE["conv.weight"]}],
        "options_digest": "",
        "options": {},
    }
    torch.save(content, path)


def write_database(path: Path) -> None:
    """The file within a database, whose folder lies beside it."""
    folder = path.with_suffix(".lmdb")
    shutil.rmtree(folder, ignore_errors=True)
    images = folder.with_name(f"{folder.stem}_images")
    images.mkdir(exist_ok=True)
    names = [f"{index}.png" for index in range(6)]
    for index, name in enumerate(names):
        cv2.imwrite(str(images / name), np.roll(PHOTOGRAPH[:48, :48], index, axis=0))
    make_lmdb_from_imgs(str(images), str(folder), names, [name[:-4] for name in names])
    shutil.copyfile(folder / "data.mdb", path)


def read_database(path: Path) -> Any:
    folder = path.with_suffix(".lmdb")
    shutil.copyfile(path, folder / "data.mdb")
    reader = LmdbBackend(folder)
    return [decode_image(reader.get(str(index)), f"{folder}/{index}") for index in range(6)]


def image_writer(array: np.ndarray, *params: int) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        assert cv2.imwrite(str(path), array, params)

    return write


def text_writer(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text)


@dataclass(frozen=True)
class Kind:
    """A kind of file: how it is written and read, and whether the format can notice other values."""

    name: str
    write: Callable[[Path], object]
    read: Callable[[Path], Any]
    has_checksum: bool = False


def unchanged(path: Path) -> np.ndarray:
    return read_image(path, unchanged=True)


DEEP = PHOTOGRAPH.astype(np.uint16) * 257
LISTING = "\n".join(f"{index:04d}.png (480,{400 + index},3)" for index in range(30))
GUIDE = "image_name,MOS\n" + "\n".join(f"{index}.jpg,{50 + index / 7:.4f}" for index in range(30))
KINDS = (
    Kind("net_g.pth", lambda path: torch.save({"params": STATE, "params_ema": STATE}, path), read_file, True),
    Kind("old.pth", lambda path: torch.save(STATE, path, _use_new_zipfile_serialization=False), read_file),
    Kind("net_g.safetensors", lambda path: write_tensors(STATE, path, {"scale": "4"}, "params"), read_file, True),
    Kind("5.state", write_checkpoint, lambda path: load_checkpoint(path).model, True),
    Kind(
        "spectrum_stats.pth",
        lambda path: ProfileStatistics(np.linspace(1, 2, 90), np.linspace(0, 1, 90), 12, 128, "a").save(path),
        lambda path: vars(ProfileStatistics.load(path)),
        True,
    ),
    Kind("data.mdb", write_database, read_database, True),
    Kind("8.png", image_writer(PHOTOGRAPH), unchanged, True),
    Kind("16.png", image_writer(DEEP), unchanged, True),
    Kind("gray.png", image_writer(PHOTOGRAPH[..., 0]), unchanged, True),
    Kind("base.jpg", image_writer(PHOTOGRAPH, cv2.IMWRITE_JPEG_QUALITY, 90), unchanged),
    Kind("progressive.jpg", image_writer(PHOTOGRAPH, cv2.IMWRITE_JPEG_PROGRESSIVE, 1), unchanged),
    Kind("lzw.tif", image_writer(PHOTOGRAPH, cv2.IMWRITE_TIFF_COMPRESSION, 5), unchanged),
    Kind("deflate.tif", image_writer(PHOTOGRAPH, cv2.IMWRITE_TIFF_COMPRESSION, 8), unchanged),
    Kind("raw.tif", image_writer(DEEP, cv2.IMWRITE_TIFF_COMPRESSION, 1), unchanged),
    Kind("lossless.webp", image_writer(PHOTOGRAPH, cv2.IMWRITE_WEBP_QUALITY, 101), unchanged),
    Kind("lossy.webp", image_writer(PHOTOGRAPH, cv2.IMWRITE_WEBP_QUALITY, 80), unchanged),
    Kind("x.bmp", image_writer(PHOTOGRAPH), unchanged),
    Kind("x.ppm", image_writer(PHOTOGRAPH), unchanged),
    Kind("x.jp2", image_writer(PHOTOGRAPH), unchanged),
    Kind("meta_info.txt", text_writer(LISTING), read_meta_info),
    Kind("guide.csv", text_writer(GUIDE), read_guide),
    Kind("x.yml", text_writer(Path("options/train/quickstart.yml").read_text()), lambda path: load_file(path).data),
)


def damage(content: bytes, generator: np.random.Generator) -> tuple[bytes, str]:
    """A flipped bit, other bytes, zeros, a cut, a repeated end or bytes that are missing; never the content itself."""
    place, length = int(generator.integers(len(content))), int(generator.integers(1, 300))
    head, rest = content[:place], content[place + length :]
    kind = str(generator.choice(["flip", "noise", "zeros", "cut", "longer", "gap"]))
    damaged = {
        "flip": head + bytes([content[place] ^ 1 << int(generator.integers(8))]) + content[place + 1 :],
        "noise": head + generator.bytes(min(length, len(content) - place)) + rest,
        "zeros": head + bytes(min(length, len(content) - place)) + rest,
        "cut": head,
        "longer": content + generator.bytes(length),
        "gap": head + rest,
    }[kind]
    return damaged, f"{kind} at {place} of {len(content)}"


def may_go_unnoticed(kind: Kind, note: str) -> bool:
    """Whether nothing in the file tells that the values are others: never of a picture that is too short."""
    is_picture = kind.read is unchanged
    return not kind.has_checksum and not (is_picture and note.startswith("cut"))


def as_bytes(value: Any) -> bytes:
    """Equal for equal values, of tensors and arrays too."""
    if isinstance(value, torch.Tensor):
        value = value.numpy()
    if isinstance(value, np.ndarray):
        return repr((value.shape, value.dtype.str)).encode() + value.tobytes()
    if isinstance(value, dict):
        return b"".join(repr(key).encode() + as_bytes(entry) for key, entry in value.items())
    if isinstance(value, (list, tuple)):
        return b"".join(map(as_bytes, value)) + b"%d" % len(value)
    return pickle.dumps(value)


def read_and_say(kind: Kind, path: Path, sound: bytes) -> int:
    try:
        found = as_bytes(kind.read(path))
    except UserError as error:
        sys.stdout.write(f"{error}\n")
        return 3 if path.stem in str(error) or path.parent.name in str(error) else 5
    return 0 if found == sound else 4


def test_damaged_files_are_refused_or_read_to_what_they_held(
    plan: Plan, tally: Callable[[str], Tally], tmp_path: Path
) -> None:
    tried: dict[str, tuple[Kind, str]] = {}
    cases = []
    for index, generator in enumerate(plan.draw("damage", WHOLE)):
        kind = KINDS[index % len(KINDS)]
        path = tmp_path / f"{index}" / kind.name
        path.parent.mkdir()
        kind.write(path)
        content = path.read_bytes()
        sound = as_bytes(kind.read(path))
        damaged, note = damage(content, generator)
        path.write_bytes(damaged)
        label = f"seed {plan.seed}, {index} ({kind.name}: {note})"
        cases.append(Case(label, lambda k=kind, p=path, s=sound: read_and_say(k, p, s)))
        tried[label] = (kind, note)
    tallies = {kind.name: tally(f"damaged {kind.name}") for kind in KINDS[: len(cases)]}
    for end in run_cases(cases, tmp_path / "runs", timeout=60):
        kind, note = tried[end.case.label]
        result = tallies[kind.name]
        if end.code in (0, 3) and not end.fault:
            result.add("right" if end.code == 0 else "named")
        elif end.code == 4 and may_go_unnoticed(kind, note):
            result.add("unnoticeable")
        else:
            result.lose(end.case.label, "other values were read" if end.code == 4 else end.fault or end.text)
    for result in tallies.values():
        result.demand_none_lost()
