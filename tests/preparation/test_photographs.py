"""The data set made from scikit-image's photographs: content, repair, and use by a block."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr.data import PairedImageDataset
from basicsr.data.transforms import reduce_bicubic
from basicsr.preparation.photographs import TRAIN_PHOTOGRAPHS, VAL_PHOTOGRAPHS, prepare_block, prepare_photographs
from basicsr.utils.errors import DataError


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return prepare_photographs(tmp_path_factory.mktemp("data") / "photographs")


def snapshot(root: Path) -> dict[str, tuple[bytes, int]]:
    files = (path for path in sorted(root.rglob("*")) if path.is_file())
    return {str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


def test_content(prepared: Path) -> None:
    manifest = json.loads((prepared / "manifest_X4.json").read_text())
    images = {path.relative_to(prepared).as_posix() for path in prepared.rglob("*.png")}
    assert images == set(manifest["files"])
    assert {path.stem for path in (prepared / "val" / "HR").iterdir()} == set(VAL_PHOTOGRAPHS)
    trained = {path.name.split("_s")[0] for path in (prepared / "train" / "HR").iterdir()}
    assert trained == set(TRAIN_PHOTOGRAPHS) and not trained & set(VAL_PHOTOGRAPHS)
    for name in VAL_PHOTOGRAPHS:
        hr = cv2.imread(str(prepared / "val" / "HR" / f"{name}.png"))
        lr = cv2.imread(str(prepared / "val" / "LR_bicubic" / "X4" / f"{name}.png"))
        assert hr.shape[0] % 12 == hr.shape[1] % 12 == 0 and hr.dtype == np.uint8
        assert np.array_equal(lr, reduce_bicubic(hr, 4))


def test_sub_images_are_those_of_the_whole_photograph(prepared: Path, tmp_path: Path) -> None:
    whole = prepare_photographs(tmp_path, sub_image_size=None)
    hr = cv2.imread(str(whole / "train" / "HR" / "chelsea.png"))
    lr = cv2.imread(str(whole / "train" / "LR_bicubic" / "X4" / "chelsea.png"))
    first = cv2.imread(str(prepared / "train" / "HR" / "chelsea_s001.png"))
    names = sorted(path.name for path in (prepared / "train" / "HR").glob("chelsea_s*.png"))
    last = cv2.imread(str(prepared / "train" / "HR" / names[-1]))
    last_lr = cv2.imread(str(prepared / "train" / "LR_bicubic" / "X4" / names[-1]))
    assert np.array_equal(first, hr[:192, :192])
    assert np.array_equal(last, hr[-192:, -192:]) and np.array_equal(last_lr, lr[-48:, -48:])


@pytest.mark.slow
def test_a_second_call_touches_nothing_and_damage_is_repaired(prepared: Path) -> None:
    before = snapshot(prepared)
    prepare_photographs(prepared)
    assert snapshot(prepared) == before
    hr, lr = prepared / "train" / "HR", prepared / "train" / "LR_bicubic" / "X4"
    (hr / "coffee_s003.png").unlink()
    (lr / "coffee_s002.png").write_bytes(b"torn")
    (hr / "of_another_recipe.png").write_bytes(b"x")
    prepare_photographs(prepared)
    assert {name: content for name, (content, _) in snapshot(prepared).items()} == {
        name: content for name, (content, _) in before.items()
    }
    whole = before["manifest_X4.json"][0]
    for damaged in (b"{", b"\xff", whole.replace(b'"sha256"', b'"sha25v"', 1), whole.replace(b'"files"', b'"filer"')):
        (prepared / "manifest_X4.json").write_bytes(damaged)
        prepare_photographs(prepared)
        assert (prepared / "manifest_X4.json").read_bytes() == whole


def test_scales_share_the_hr_folder(prepared: Path) -> None:
    before = {name: content for name, (content, _) in snapshot(prepared).items()}
    prepare_photographs(prepared, scale=2)
    after = {name: content for name, (content, _) in snapshot(prepared).items()}
    assert before.items() <= after.items()
    assert (prepared / "val" / "LR_bicubic" / "X2" / "astronaut.png").is_file()


def test_a_block_makes_its_files_before_a_run_and_checking_it_makes_none(prepared: Path, tmp_path: Path) -> None:
    root = prepared
    shutil.rmtree(root / "train" / "HR")
    block = {
        "dataroot_gt": str(root / "train" / "HR"),
        "dataroot_lq": str(root / "train" / "LR_bicubic" / "X4"),
        "prepare": "photographs",
        "phase": "train",
        "scale": 4,
        "gt_size": 128,
    }
    assert PairedImageDataset.check_files(block) == []
    assert not (root / "train" / "HR").exists(), "validation writes nothing"
    with pytest.raises(DataError, match="prepare_photographs"):
        PairedImageDataset(block)
    prepare_block(block)
    dataset = PairedImageDataset(block)
    assert len(dataset) > 60 and dataset[0]["gt"].shape == (3, 128, 128)
    gray = next(i for i, entry in enumerate(dataset.paths) if "camera" in entry["gt_path"])
    assert dataset[gray]["gt"].std(dim=0).max() == 0, "gray photographs give three equal channels"
    (problem,) = PairedImageDataset.check_files({**block, "dataroot_gt": str(tmp_path / "HR")})
    assert problem.path == "prepare" and "ROOT/{train,val}/HR" in problem.message
    with pytest.raises(DataError, match="multiple of 12"):
        prepare_photographs(tmp_path / "x", sub_image_size=100)
    with pytest.raises(DataError, match="scale must be"):
        prepare_photographs(tmp_path / "x", scale=5)
