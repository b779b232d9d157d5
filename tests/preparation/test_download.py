"""Downloads from a server on this machine: whole, resumed, changed meanwhile, torn, refused, unpacked."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from file_server import Server, serve

from basicsr.preparation import download_dataset, downloads
from basicsr.preparation.downloads import ARCHIVES, Archive
from basicsr.utils.download_util import Checksum, download_file, load_file_from_url
from basicsr.utils.errors import DataError, UserError, WeightsError


@pytest.fixture
def server() -> Iterator[Server]:
    with serve() as running:
        yield running


CONTENT = bytes(range(256)) * 4000
SHA = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


def test_whole_file_once(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT
    path = tmp_path / "new" / "a.bin"
    for _ in range(2):
        assert download_file(f"{server.url}/a.bin", path, SHA, progress=False) == path
    assert path.read_bytes() == CONTENT and len(server.requests) == 1
    assert [file.name for file in path.parent.iterdir()] == ["a.bin"]


def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"], server.cut_after = CONTENT, 300_000
    path = tmp_path / "a.bin"
    with pytest.raises(DataError, match="300,000 bytes are kept"):
        download_file(f"{server.url}/a.bin", path, SHA, progress=False)
    assert not path.exists()
    server.cut_after = None
    download_file(f"{server.url}/a.bin", path, SHA, progress=False)
    assert path.read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [None, "bytes=300000-"]


def test_of_several_processes_one_fetches(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT
    with ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(download_file, f"{server.url}/a.bin", tmp_path / "a.bin", SHA, False) for _ in range(4)]
        assert {future.result() for future in asked} == {tmp_path / "a.bin"}
    assert (tmp_path / "a.bin").read_bytes() == CONTENT and len(server.requests) == 1
    assert [file.name for file in tmp_path.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("changed", [True, False])
def test_a_part_of_another_file_is_not_continued(server: Server, tmp_path: Path, changed: bool) -> None:
    server.files["a.bin"], server.cut_after = CONTENT, 1000
    with pytest.raises(DataError):
        download_file(f"{server.url}/a.bin", tmp_path / "a.bin", progress=False)
    server.cut_after = None
    server.supports_ranges = changed
    if changed:
        server.files["a.bin"] = CONTENT[::-1]
    download_file(f"{server.url}/a.bin", tmp_path / "a.bin", progress=False)
    assert (tmp_path / "a.bin").read_bytes() == server.files["a.bin"]


def test_a_complete_part_is_not_a_dead_end(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT
    (tmp_path / "a.bin.part").write_bytes(CONTENT)
    (tmp_path / "a.bin.part.tag").write_text(hashlib.md5(CONTENT).hexdigest())
    download_file(f"{server.url}/a.bin", tmp_path / "a.bin", SHA, progress=False)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_a_wrong_file_is_refused_and_a_damaged_one_replaced(server: Server, tmp_path: Path) -> None:
    server.files["a.bin"] = CONTENT[:-1]
    with pytest.raises(DataError, match="published sha256"):
        download_file(f"{server.url}/a.bin", tmp_path / "a.bin", SHA, progress=False)
    assert list(tmp_path.iterdir()) == []
    server.files["a.bin"] = CONTENT
    (tmp_path / "a.bin").write_bytes(b"damaged")
    download_file(f"{server.url}/a.bin", tmp_path / "a.bin", SHA, progress=False)
    assert (tmp_path / "a.bin").read_bytes() == CONTENT


def test_weights(server: Server, tmp_path: Path) -> None:
    server.files["net.pth"] = b"weights"
    path = load_file_from_url(f"{server.url}/net.pth?raw=1", str(tmp_path), progress=False)
    assert path == str(tmp_path / "net.pth") and Path(path).read_bytes() == b"weights"
    server.files.clear()
    assert load_file_from_url(f"{server.url}/net.pth", str(tmp_path), progress=False) == path
    with pytest.raises(WeightsError, match=f"404.*put it at {tmp_path / 'other.pth'}"):
        load_file_from_url(f"{server.url}/absent.pth", str(tmp_path), False, "other.pth")
    closed = server.url
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match=r"refused.*put it at .*absent\.pth"):
        load_file_from_url(f"{closed}/absent.pth", str(tmp_path), False)


def pack_zip(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def pack_tar(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def test_data_sets_are_fetched_and_unpacked(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server.files["hr.zip"] = pack_zip({"DIV2K_train_HR/0001.png": b"1", "DIV2K_train_HR/0002.png": b"2"})
    server.files["benchmark.tar"] = pack_tar({"benchmark/B100/HR/x.png": b"x", "benchmark/Set5/HR/y.png": b"y"})
    digest = Checksum("md5", hashlib.md5(server.files["hr.zip"]).hexdigest())
    archives = (
        Archive("http://published.invalid/hr.zip", "DIV2K", digest),
        Archive("http://published.invalid/benchmark.tar", "B100", None, "benchmark/B100", shared=True),
    )
    monkeypatch.setitem(ARCHIVES, "test", archives)
    for _ in range(2):
        folders = download_dataset("test", tmp_path, server.url + "/", progress=False)
    assert folders == [tmp_path / "DIV2K", tmp_path / "B100"]
    assert (tmp_path / "DIV2K" / "DIV2K_train_HR" / "0002.png").read_bytes() == b"2"
    assert (tmp_path / "B100" / "HR" / "x.png").read_bytes() == b"x"
    assert not list(tmp_path.rglob("y.png")) and len(server.requests) == 2
    assert [path.name for path in (tmp_path / "archives").iterdir()] == ["benchmark.tar"]


def test_damaged_archives_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = tmp_path / "archives"
    archives.mkdir()
    (archives / "a.zip").write_bytes(pack_zip({"a/b.png": b"1" * 5000})[:-40])
    (archives / "a.tar").write_bytes(pack_tar({"a/b.png": b"1"}))
    monkeypatch.setitem(ARCHIVES, "zip", (Archive("http://published.invalid/a.zip", "out"),))
    monkeypatch.setitem(ARCHIVES, "tar", (Archive("http://published.invalid/a.tar", "out", None, "benchmark"),))
    with pytest.raises(DataError, match=r"a\.zip cannot be unpacked"):
        download_dataset("zip", tmp_path)
    with pytest.raises(DataError, match="has no folder benchmark"):
        download_dataset("tar", tmp_path)
    assert not list((tmp_path / "out").iterdir())
    with pytest.raises(UserError, match="unknown data set 'Set4'"):
        download_dataset("Set4", tmp_path)


def test_archives_that_would_fill_the_disk_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archives = tmp_path / "archives"
    archives.mkdir()
    (archives / "a.zip").write_bytes(pack_zip({"a/b.png": b"1"}))
    monkeypatch.setitem(ARCHIVES, "bomb", (Archive("http://published.invalid/a.zip", "out"),))
    monkeypatch.setattr(downloads.shutil, "disk_usage", lambda folder: SimpleNamespace(free=2**40))
    # The size that the archive's directory says, not what is in it.
    monkeypatch.setattr(zipfile.ZipFile, "infolist", lambda self: [SimpleNamespace(file_size=2**31)])
    with pytest.raises(DataError, match=r"a\.zip would unpack to 2\.0 GB, more than 1\.0 GB"):
        download_dataset("bomb", tmp_path)
    assert not list((tmp_path / "out").iterdir())


def test_a_place_that_cannot_be_written_is_named(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(WeightsError, match=r"file/a\.bin cannot be written \(.*choose another folder"):
        download_file(f"{server.url}/a.bin", tmp_path / "file/a.bin", SHA, progress=False, error=WeightsError)


def test_local_files_are_no_downloads(tmp_path: Path) -> None:
    (tmp_path / "net.pth").write_bytes(b"weights")
    with pytest.raises(WeightsError, match=r"expected http, https, ftp; a file on this machine goes to .*other\.pth"):
        load_file_from_url((tmp_path / "net.pth").as_uri(), str(tmp_path), False, "other.pth")


def test_the_table_fills_the_folders_that_recipes_name() -> None:
    assert {"DIV2K", "Flickr2K", "OST", "Set5", "Set14", "BSD100", "Urban100"} <= set(ARCHIVES)
    lengths = {"sha256": 64, "md5": 32}
    for archives in ARCHIVES.values():
        for archive in archives:
            assert archive.url.startswith("https://")
            assert archive.checksum is None or len(archive.checksum.digest) == lengths[archive.checksum.algorithm]
