"""Lists and folders of images: every legal file name survives, and what is odd is named and left out."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch
from photo_folders import crops, make_pairs, paired_block, write

from basicsr.analysis.statistics import ProfileStatistics
from basicsr.data import GatedDegradationDataset, PairedImageDataset, SingleImageDataset, build_dataloader
from basicsr.data.data_util import paths_from_lmdb, read_lmdb_meta
from basicsr.data.listings import read_meta_info
from basicsr.options.load import load_text
from basicsr.preparation import (
    create_lmdb,
    extract_subimages,
    generate_meta_info,
    generate_multiscale,
    generate_paired_meta_info,
)
from basicsr.preparation.folders import describe_source
from basicsr.utils.errors import DataError, OptionsError
from basicsr.utils.file_client import FileClient
from basicsr.utils.images import ImageError, list_images, read_image, read_image_size
from basicsr.utils.meta_info import MetaLine, format_meta_line, parse_meta_info

NAMES = ["a, b.png", "photo (1,2).png", "a.png,b.png", "new\nline.png", "return\r.png", " blank .png", '"quoted".png']
NAMES += ["a (1,2,3).png", "x.png (3,4,3)", "ä\u2028ö.png", "\x0cfeed\x85.png", "back\\slash.png", "[1].png", "c,.png"]
NAMES += [os.fsdecode(b"latin\xe9.png")]


@pytest.mark.parametrize("name", NAMES)
def test_every_name_survives_a_list(name: str, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    for meant in (MetaLine(name), MetaLine(name, name), MetaLine("a.png", name), MetaLine(name, size=(3, 4))):
        paths = [meant.gt] if meant.lq is None else [meant.gt, meant.lq]
        path.write_text(format_meta_line(paths, (3, 4, 3) if meant.size else None) + "\n", encoding="utf-8")
        assert read_meta_info(path) == [meant]


def test_lines_of_published_lists_and_of_hand_made_ones_mean_what_they_did() -> None:
    lines = {
        "a.png": MetaLine("a.png"),
        "a.png, b.png": MetaLine("a.png", "b.png"),
        "a.png,b.png": MetaLine("a.png", "b.png"),
        "sub/a.gif, b.gif": MetaLine("sub/a.gif", "b.gif"),
        "0001, 0002": MetaLine("0001", "0002"),
        "a.png (480,320,3)": MetaLine("a.png", size=(480, 320)),
        "a.png (480,320,3) 1": MetaLine("a.png", size=(480, 320)),
        # Written without quotes.
        "a, b.png": MetaLine("a, b.png"),
        "photo (1,2).png": MetaLine("photo (1,2).png"),
        "photo (1,2).png (480,320,3)": MetaLine("photo (1,2).png", size=(480, 320)),
    }
    assert list(parse_meta_info("\n".join(lines))) == list(lines.values())
    for line in ("a.png", "a.png, b.png", "photo (1,2).png"):
        assert format_meta_line([line] if "(" in line else line.split(", ")) == line
    with pytest.raises(DataError, match=r"line 2: .*quotes"):
        list(parse_meta_info("a.png\na.png, b.png, c.png"))


def test_folders_of_odd_names_go_through_lists_and_databases(tmp_path: Path) -> None:
    image = crops(1)[0]
    for name in NAMES:
        if name.endswith(".png"):
            write(tmp_path / "plain.png", image)
            (tmp_path / "HR").mkdir(exist_ok=True)
            (tmp_path / "plain.png").rename(tmp_path / "HR" / name)
    names = list_images(tmp_path / "HR")
    generate_meta_info([tmp_path / "HR"], tmp_path / "list.txt", [tmp_path / "HR"], with_size=True, check=True)
    dataset = SingleImageDataset({"dataroot_lq": tmp_path / "HR", "meta_info_file": tmp_path / "list.txt"})
    assert [Path(entry["lq_path"]).name for entry in dataset.paths] == names
    assert all("lq" in dataset[index] for index in range(len(names)))
    generate_paired_meta_info(tmp_path / "HR", tmp_path / "HR", tmp_path / "pairs.txt")
    assert [line.lq for line in read_meta_info(tmp_path / "pairs.txt")] == [f"HR/{name}" for name in names]
    create_lmdb(tmp_path / "HR", tmp_path / "HR.lmdb", num_workers=1)
    keys = paths_from_lmdb(tmp_path / "HR.lmdb")
    assert keys == [os.path.splitext(name)[0] for name in names]
    assert set(read_lmdb_meta(tmp_path / "HR.lmdb").values()) == {image.shape[:2]}
    client = FileClient("lmdb", db_paths=str(tmp_path / "HR.lmdb"))
    assert all(client.get(key).startswith(b"\x89PNG") for key in keys)


def test_a_byte_order_mark_is_no_part_of_a_name_and_nul_or_other_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(b"\xef\xbb\xbfa.png\r\nb.png\r\n")
    assert [line.gt for line in read_meta_info(path)] == ["a.png", "b.png"]
    path.write_bytes(b"a.png\nb\0.png\n")
    with pytest.raises(DataError, match=r"list\.txt, line 2: holds a NUL character"):
        read_meta_info(path)
    path.write_text("a.png", encoding="utf-16")
    with pytest.raises(DataError, match="is not UTF-8 text"):
        read_meta_info(path)


def test_pipes_are_refused_by_name_and_not_waited_for(tmp_path: Path) -> None:
    write(tmp_path / "a.png", crops(1)[0])
    os.mkfifo(tmp_path / "x.png")
    (tmp_path / "y.png").symlink_to(tmp_path / "x.png")
    for name in ("x.png", "y.png"):
        for read in (read_image, read_image_size):
            with pytest.raises(ImageError, match=f"{name}: is not a file"):
                read(tmp_path / name)
        with pytest.raises(OSError, match="is not a file"):
            describe_source(tmp_path / name)
    problems = SingleImageDataset.check_files({"dataroot_lq": tmp_path})
    assert "2 images unusable, is not a file: " in problems[0].message
    for step in (
        lambda: extract_subimages(tmp_path, tmp_path.parent / "sub", crop_size=16, step=16, num_workers=1),
        lambda: generate_multiscale(tmp_path, tmp_path.parent / "smaller", num_workers=1),
        lambda: create_lmdb(tmp_path, tmp_path.parent / "all.lmdb", num_workers=1),
        lambda: generate_meta_info([tmp_path], tmp_path.parent / "list.txt", check=True, with_size=True),
    ):
        with pytest.raises(DataError, match=r"x\.png: is not a file"):
            step()


def test_links_to_folders_above_are_not_followed_and_others_are(tmp_path: Path) -> None:
    root = tmp_path / "set"
    for name in ("a.png", "deep/b.png", "beside/c.png"):
        write(root / name, crops(1)[0])
    (root / "deep/up").symlink_to(root)
    (root / "deep/self").symlink_to(root / "deep")
    (root / "other").symlink_to(root / "beside")
    assert list_images(root, recursive=True) == ["a.png", "beside/c.png", "deep/b.png", "other/c.png"]


def test_sub_folders_that_are_left_out_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    make_pairs(tmp_path, 2)
    for folder in ("HR", "LR"):
        write(tmp_path / folder / "more" / "p5.png", crops(1)[0])
        (tmp_path / folder / "empty").mkdir()
    PairedImageDataset(paired_block(tmp_path))
    SingleImageDataset({"dataroot_lq": tmp_path / "LR"})
    found = [line for line in caplog.messages if "images in its sub-folders are not used: more;" in line]
    assert [line.partition(": ")[0] for line in found] == [str(tmp_path / x) for x in ("HR", "LR", "LR")]


def test_nested_yaml_and_statistics_that_are_none_are_refused_in_a_sentence(tmp_path: Path) -> None:
    for text in ("a: " + "[" * 2000 + "]" * 2000, "a: " + "{b: " * 2000 + "1" + "}" * 2000):
        with pytest.raises(OptionsError, match="more than 50 levels"):
            load_text(text)
    path = tmp_path / "spectrum_stats.pth"
    for count in ("abc", None, [1]):
        torch.save({"mean": torch.zeros(3), "std": torch.ones(3), "count": count}, path)
        with pytest.raises(DataError, match="is not a statistics file"):
            ProfileStatistics.load(path)


def test_a_few_bad_images_are_named_and_left_out_up_to_the_share(tmp_path: Path, caplog) -> None:
    make_pairs(tmp_path, 6)
    (tmp_path / "HR/p1.png").write_bytes(b"no image")
    write(tmp_path / "HR/p2.png", np.zeros((24, 24, 3), np.uint8))
    write(tmp_path / "LR/p2.png", np.zeros((6, 6, 3), np.uint8))
    (problem, small) = PairedImageDataset.check_files(paired_block(tmp_path))
    assert "p1.png" in problem.message and "min_size: 32 leaves such images out" in small.message
    assert PairedImageDataset.check_files(paired_block(tmp_path, max_failed_share=0.3))
    block = paired_block(tmp_path, max_failed_share=0.34, dataset_enlarge_ratio=3)
    assert PairedImageDataset.check_files(block) == []
    named = [line for line in caplog.messages if "left out, as max_failed_share 0.34 allows" in line]
    assert len(named) == 2 and "p1.png" in named[0] and "p2.png (24x24)" in named[1]
    loader = build_dataloader(PairedImageDataset(block), block)
    assert all(len(batch["gt"]) == 2 for batch in loader)
    assert len(loader.failures) == 2


@pytest.mark.parametrize("backend", ["disk", "lmdb"])
def test_min_size_leaves_small_images_out(tmp_path: Path, backend: str, caplog: pytest.LogCaptureFixture) -> None:
    make_pairs(tmp_path, 3)
    write(tmp_path / "HR/p1.png", np.zeros((24, 48, 3), np.uint8))
    write(tmp_path / "LR/p1.png", np.zeros((6, 12, 3), np.uint8))
    block = paired_block(tmp_path, min_size=32)
    if backend == "lmdb":
        for name in ("HR", "LR"):
            create_lmdb(tmp_path / name, tmp_path / f"{name}.lmdb", num_workers=1)
        roots = {f"dataroot_{key}": str(tmp_path / f"{name}.lmdb") for key, name in (("gt", "HR"), ("lq", "LR"))}
        block |= {**roots, "io_backend": {"type": "lmdb"}}
    assert PairedImageDataset.check_files(block) == []
    assert [Path(entry["gt_path"]).stem for entry in PairedImageDataset(block).paths] == ["p0", "p2"]
    assert any("1 of 3 images smaller than min_size 32 are left out: " in line for line in caplog.messages)
    (problem,) = PairedImageDataset.check_files({**block, "min_size": 100})
    assert problem.path == "min_size"
    gt_alone = {"dataroot_gt": block["dataroot_gt"], "min_size": 32, "io_backend": {"type": backend}}
    assert len(GatedDegradationDataset(gt_alone)) == 2


def test_a_cut_database_and_one_without_its_keys_are_refused_before_a_run(tmp_path: Path) -> None:
    make_pairs(tmp_path, 4, height=96, width=96)
    create_lmdb(tmp_path / "HR", tmp_path / "HR.lmdb", num_workers=1)
    block = {"dataroot_gt": tmp_path / "HR.lmdb", "io_backend": {"type": "lmdb"}}
    assert GatedDegradationDataset.check_files(block) == []
    for name in ("cut", "other"):
        (tmp_path / f"{name}.lmdb").mkdir()
        for file in ("data.mdb", "meta_info.txt"):
            (tmp_path / f"{name}.lmdb" / file).write_bytes((tmp_path / "HR.lmdb" / file).read_bytes())
    data = tmp_path / "cut.lmdb/data.mdb"
    os.truncate(data, data.stat().st_size * 2 // 3)
    (problem,) = GatedDegradationDataset.check_files({**block, "dataroot_gt": tmp_path / "cut.lmdb"})
    assert "data.mdb: cut short" in problem.message and problem.path == "dataroot_gt"
    with pytest.raises(DataError, match="cut short"):
        FileClient("lmdb", db_paths=str(tmp_path / "cut.lmdb")).get("p0")
    with open(tmp_path / "other.lmdb/meta_info.txt", "a", encoding="utf-8") as file:
        file.write("more.png (96,96,3) 1\n")
    (problem,) = GatedDegradationDataset.check_files({**block, "dataroot_gt": tmp_path / "other.lmdb"})
    assert "lacks 1 of the 5 entries" in problem.message and problem.message.endswith("more")
