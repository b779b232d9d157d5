"""Image databases: written, read by data sets in several processes, and refused when they do not fit."""

from __future__ import annotations

import pickle
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from photo_folders import crops, make_pairs, paired_block, write

from basicsr.data import GatedDegradationDataset, PairedImageDataset, SingleImageDataset, build_dataloader
from basicsr.data.data_util import paired_paths_from_lmdb, paths_from_lmdb
from basicsr.preparation import create_lmdb
from basicsr.utils.errors import DataError, UserError
from basicsr.utils.file_client import FileClient
from basicsr.utils.lmdb_util import LmdbMaker, make_lmdb_from_imgs


@pytest.fixture
def databases(tmp_path: Path) -> Path:
    make_pairs(tmp_path, 4)
    assert create_lmdb(tmp_path / "HR", tmp_path / "HR.lmdb", num_workers=1) == 4
    assert create_lmdb(tmp_path / "LR", tmp_path / "LR.lmdb", num_workers=2) == 4
    return tmp_path


def lmdb_block(root: Path, **options: object) -> dict[str, object]:
    roots = {"dataroot_gt": str(root / "HR.lmdb"), "dataroot_lq": str(root / "LR.lmdb")}
    return paired_block(root, **{**roots, "io_backend": {"type": "lmdb"}, **options})


def test_format(databases: Path) -> None:
    lines = (databases / "HR.lmdb" / "meta_info.txt").read_text().splitlines()
    assert lines == [f"p{i}.png (48,64,3) 1" for i in range(4)]
    client = FileClient("lmdb", db_paths=[str(databases / "HR.lmdb")], client_keys=["gt"])
    image = cv2.imdecode(np.frombuffer(client.get("p2", "gt"), np.uint8), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(image, cv2.imread(str(databases / "HR" / "p2.png")))
    with pytest.raises(DataError, match="no entry 'p9'"):
        client.get("p9", "gt")
    with pytest.raises(DataError, match="no LMDB database is called 'lq'"):
        client.get("p1", "lq")


@pytest.mark.parametrize("workers", [0, 2])
def test_data_sets_read_the_same_from_databases_as_from_folders(databases: Path, workers: int) -> None:
    block = lmdb_block(databases, num_worker_per_gpu=workers)
    assert PairedImageDataset.check_files(block) == []
    from_lmdb = PairedImageDataset(block)
    from_lmdb[0]  # opened before the workers are forked, as a check of the first batch does
    folders = paired_block(databases)
    batches = list(build_dataloader(from_lmdb, block))
    for batch, reference in zip(batches, build_dataloader(PairedImageDataset(folders), folders)):
        assert torch.equal(batch["gt"], reference["gt"]) and torch.equal(batch["lq"], reference["lq"])
    assert len(batches) == 2
    assert torch.equal(pickle.loads(pickle.dumps(from_lmdb))[1]["gt"], from_lmdb[1]["gt"])


def test_other_data_sets_read_databases(databases: Path) -> None:
    backend = {"io_backend": {"type": "lmdb"}}
    single = SingleImageDataset({"dataroot_lq": databases / "LR.lmdb", **backend})
    assert len(single) == 4 and single[0]["lq"].shape == (3, 12, 16)
    block = {"dataroot_gt": databases / "HR.lmdb", "phase": "train", "scale": 4, "gt_size": 64, **backend}
    assert GatedDegradationDataset(block)[3]["gt"].shape == (3, 400, 400)
    (problem,) = GatedDegradationDataset.check_files(block)
    assert "4 images smaller than gt_size 64" in problem.message


def test_mismatches_are_named(databases: Path) -> None:
    write(databases / "more" / "p0.png", crops(1)[0])
    create_lmdb(databases / "more", databases / "more.lmdb", num_workers=1)
    (problem,) = PairedImageDataset.check_files(lmdb_block(databases, dataroot_lq=str(databases / "more.lmdb")))
    assert problem.path == "dataroot_lq" and "different keys: p1, p2, p3" in problem.message
    (problem,) = PairedImageDataset.check_files(lmdb_block(databases, dataroot_gt=str(databases / "HR")))
    assert ".lmdb" in problem.message
    write(databases / "LR2" / "p0.png", crops(1, 10, 16)[0])
    for i in range(1, 4):
        write(databases / "LR2" / f"p{i}.png", crops(1, 12, 16)[0])
    create_lmdb(databases / "LR2", databases / "LR2.lmdb", num_workers=1)
    (problem,) = PairedImageDataset.check_files(lmdb_block(databases, dataroot_lq=str(databases / "LR2.lmdb")))
    assert "1 image whose GT is not 4 times LQ: p0" in problem.message
    assert paths_from_lmdb(databases / "LR.lmdb") == ["p0", "p1", "p2", "p3"]
    pairs = paired_paths_from_lmdb([databases / "LR.lmdb", databases / "HR.lmdb"], ["lq", "gt"])
    assert pairs[2] == {"lq_path": "p2", "gt_path": "p2"}


def test_a_database_is_whole_or_absent(tmp_path: Path) -> None:
    make_pairs(tmp_path, 2)
    (tmp_path / "HR" / "p1.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"p1\.png: not a readable image"):
        create_lmdb(tmp_path / "HR", tmp_path / "HR.lmdb", num_workers=1)
    assert not (tmp_path / "HR.lmdb").exists()
    write(tmp_path / "HR" / "p1.png", crops(1)[0])
    assert create_lmdb(tmp_path / "HR", tmp_path / "HR.lmdb", num_workers=1) == 2
    with pytest.raises(UserError, match="exists already"):
        create_lmdb(tmp_path / "HR", tmp_path / "HR.lmdb", num_workers=1)


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_a_file_that_is_cut_short_is_not_packed(tmp_path: Path, suffix: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    path = tmp_path / f"a{suffix}"
    cv2.imwrite(str(path), image)
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(DataError, match=rf"a{suffix}: cut short"):
        make_lmdb_from_imgs(tmp_path, tmp_path / "a.lmdb", [path.name], ["a"])
    assert not (tmp_path / "a.lmdb").exists()


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_leaves_no_database_and_the_next_run_makes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    make_pairs(tmp_path, 4)

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(LmdbMaker, "put", interrupt)
        create_lmdb(tmp_path / "HR", tmp_path / "HR.lmdb", num_workers=workers)
    assert not (tmp_path / "HR.lmdb").exists()
    assert create_lmdb(tmp_path / "HR", tmp_path / "HR.lmdb", num_workers=workers) == 4


def test_bad_requests(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"must end in \.lmdb"):
        LmdbMaker(tmp_path / "x")
    with pytest.raises(UserError, match="unique"):
        make_lmdb_from_imgs(tmp_path, tmp_path / "x.lmdb", ["a.png", "a.jpg"], ["a", "a"])
    with pytest.raises(UserError, match="2 images but 1 keys"):
        make_lmdb_from_imgs(tmp_path, tmp_path / "x.lmdb", ["a.png", "a.jpg"], ["a"])
    with pytest.raises(UserError, match="'memcached' is not supported"):
        FileClient("memcached")
    with pytest.raises(DataError, match="no image"):
        (tmp_path / "empty").mkdir()
        create_lmdb(tmp_path / "empty", tmp_path / "x.lmdb")
    assert FileClient("disk").get_text(__file__).startswith('"""Image databases')


def test_maker_commits_in_batches(tmp_path: Path) -> None:
    maker = LmdbMaker(tmp_path / "few.lmdb", map_size=2**24, batch=2)
    for number in range(5):
        maker.put(bytes([number]) * 10, f"k{number}", (1, 2, 3))
    maker.close()
    client = FileClient("lmdb", db_paths=tmp_path / "few.lmdb")
    assert [client.get(f"k{number}")[0] for number in range(5)] == list(range(5))
