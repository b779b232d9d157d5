"""Files of tensors, read only if they are what was written: damage is found before a value of it is used.

===================  ============================================================================================
file                 what is compared
===================  ============================================================================================
``torch.save``       the CRC-32 that the archive holds of each of its members
… of PyTorch < 1.6   nothing, unless the file's name has a digest
``.safetensors``     a SHA-256 of the whole file that :func:`write_tensors` puts into its metadata, if it is there
any                  a part of a SHA-256 at the end of the name, as in ``vgg19-dcbb9e9d.pth``
===================  ============================================================================================
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import pickle
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from basicsr.utils.atomic import StrPath, atomic_path, atomic_save, hash_file, part_name
from basicsr.utils.errors import UserError, WeightsError, first_line

logger = logging.getLogger("basicsr")

SUFFIXES = (".pth", ".pt", ".safetensors", ".ckpt")
DIGEST_KEY = "basicsr_sha256"
"""Metadata of a ``.safetensors`` file: SHA-256 of the file with this digest's own 64 digits as zeros."""

_ARCHIVE = b"PK\x03\x04"
_BLOCK = 1 << 20
_NAMED_DIGEST = re.compile(r"-([0-9a-f]{8,64})\.\w+$")
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])(0[1-9]|[12]\d|3[01])")
_HELD_DIGEST = re.compile(rf'"{DIGEST_KEY}":"([0-9a-f]{{64}})"'.encode())
_FOREIGN_OBJECT = re.compile(r"GLOBAL (\S+) was not an allowed")


def read_file(path: StrPath, error: type[UserError] = WeightsError) -> Any:
    """Reads a file of tensors and plain values, on the CPU, and checks that it is undamaged; no code of it is run.

    Args:
        path: A file as ``torch.save`` writes it, or ``.safetensors``.
        error: What to raise.

    Raises:
        UserError: As ``error``, if the file is missing, damaged, or holds anything else.
    """
    file = Path(path)
    try:
        with open(file, "rb") as content:
            is_archive = content.read(len(_ARCHIVE)) == _ARCHIVE
        if is_archive:
            _check_archive(file)
        _check_named_digest(file, is_archive)
        if file.suffix == ".safetensors":
            return _read_safetensors(file.read_bytes())
        return torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as cause:
        raise error(f"there is no file {file}; put it there, or change what names it") from cause
    except Exception as cause:
        raise error(f"cannot read {file}: {_explain(cause)}") from cause


def read_part(path: StrPath, name: str, error: type[UserError] = WeightsError) -> Any:
    """Reads a further member of an archive, see :func:`basicsr.utils.atomic.atomic_save`, as :func:`read_file` does.

    Raises:
        UserError: As ``error``, if it is missing, damaged, or holds anything else.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            content = io.BytesIO(archive.read(part_name(archive, name)))
        return torch.load(content, map_location="cpu", weights_only=True)
    except KeyError:
        raise error(f"{path} is incomplete: it has no {name}") from None
    except Exception as cause:
        raise error(f"cannot read {name} in {path}: {_explain(cause)}") from cause


def read_metadata(path: StrPath) -> dict[str, str]:
    """What a ``.safetensors`` file says of itself; nothing for other files."""
    if Path(path).suffix != ".safetensors":
        return {}
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        try:
            return dict(json.loads(file.read(size)).get("__metadata__", {}))
        except ValueError:
            return {}


def write_tensors(state: Mapping[str, Tensor], path: StrPath, metadata: Mapping[str, str], entry: str) -> None:
    """Writes one state dict, whole or not at all.

    Args:
        state: Tensors by name.
        path: ``.safetensors``: the plain state dict with the metadata and :data:`DIGEST_KEY`. Anything else:
            ``{entry: state}`` as ``torch.save`` writes it, without the metadata.
        metadata: What the file shall say of itself.
        entry: ``params`` or ``params_ema``.
    """
    if Path(path).suffix != ".safetensors":
        atomic_save({entry: dict(state)}, path)
        return
    from safetensors.torch import save

    # The format knows no two names of one tensor, and no strides.
    tensors = {name: value.detach().cpu().contiguous().clone() for name, value in state.items()}
    blank = "0" * 64
    content = save(tensors, {**metadata, "format": "pt", DIGEST_KEY: blank})
    held = f'"{DIGEST_KEY}":"{{}}"'
    digest = hashlib.sha256(content).hexdigest()
    with atomic_path(path) as temporary:
        temporary.write_bytes(content.replace(held.format(blank).encode(), held.format(digest).encode(), 1))


def _check_archive(file: Path) -> None:
    """Compares all checksums of an archive, which ``torch.load`` does not."""
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        # torch.serialization.set_crc32_options(False) writes zeros.
        for member in members if any(info.CRC for info in members) else ():
            with archive.open(member) as content:
                while content.read(_BLOCK):
                    pass


def named_digest(file_name: str) -> str:
    """The beginning of a SHA-256 that a file's name ends in; empty if it ends in none."""
    named = _NAMED_DIGEST.search(file_name)
    return "" if named is None or _DATE.fullmatch(named[1]) else named[1]


def _check_named_digest(file: Path, is_archive: bool) -> None:
    named = named_digest(file.name)
    if not named:
        return
    found = hash_file(file, hashlib.sha256())[: len(named)]
    if found == named:
        return
    # An archive's own checksums were right: somebody has saved it anew under the old name.
    text = f"its SHA-256 begins with {found}, and its name says {named}"
    if not is_archive:
        raise ValueError(f"{text}: it is damaged or another file; fetch it again, or rename it if you trust it")
    logger.warning("%s: %s: it is sound, but not the file that was published under this name.", file, text)


def _read_safetensors(content: bytes) -> dict[str, Tensor]:
    from safetensors.torch import load

    size = int.from_bytes(content[:8], "little")
    held = _HELD_DIGEST.search(content, 8, 8 + size)
    if held is not None:
        hasher = hashlib.sha256(content[: held.start(1)])
        hasher.update(b"0" * 64)
        hasher.update(memoryview(content)[held.end(1) :])
        if hasher.hexdigest().encode() != held[1]:
            raise ValueError("its digest is wrong: it is damaged; fetch it again")
    tensors: dict[str, Tensor] = load(content)
    return tensors


def _explain(error: Exception) -> str:
    """The reason in a sentence: PyTorch's own message proposes to run whatever code the file holds."""
    if isinstance(error, pickle.UnpicklingError):
        if foreign := _FOREIGN_OBJECT.search(str(error)):
            return (
                f"it holds {foreign[1]}, which only code that the file names could make, and that is never run; ask "
                "for the state dict alone, or for .safetensors"
            )
        return "it is not a file of tensors and plain values, as torch.save writes it"
    if "TorchScript" in str(error):
        return "it is a TorchScript program; its state dict is needed"
    if isinstance(error, zipfile.BadZipFile):
        return f"it is damaged ({first_line(error)}); fetch or write it again"
    return first_line(error)
