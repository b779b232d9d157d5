"""Digests of files."""

from __future__ import annotations

import hashlib
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest

from basicsr.analysis.images import digest_file
from basicsr.preparation.folders import describe_source
from basicsr.utils.atomic import hash_file
from basicsr.utils.download_util import Checksum


def test_digests_are_those_of_hashlib(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    for content in (b"", b"a" * (1 << 20), bytes(range(256)) * 10000):
        path.write_bytes(content)
        assert hash_file(path, hashlib.sha256()) == hashlib.sha256(content).hexdigest()
        assert describe_source(path)["sha256"] == hashlib.sha256(content).hexdigest()
        assert digest_file(path) == hashlib.blake2b(content, digest_size=16).hexdigest()
        assert Checksum("md5", hashlib.md5(content).hexdigest()).matches(path)


@pytest.mark.parametrize(
    "digest",
    [digest_file, describe_source, lambda path: Checksum("sha256", "").matches(path)],
    ids=["analysis", "source", "download"],
)
def test_large_files_are_not_held_in_memory(digest: Callable[[Path], object], tmp_path: Path) -> None:
    path = tmp_path / "large.bin"
    with open(path, "wb") as file:
        file.truncate(32 << 20)
    tracemalloc.start()
    digest(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20
