"""Preparation steps and their command lines on crops of photographs."""

from __future__ import annotations

import json
import re
import runpy
import shutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import cv2
import numpy as np
import pytest
from photo_folders import crops, make_pairs, paired_block, photograph, write

from basicsr.data import PairedImageDataset
from basicsr.preparation import (
    check_dataset,
    extract_subimages,
    generate_meta_info,
    generate_multiscale,
    generate_paired_meta_info,
    plan_div2k,
)
from basicsr.preparation.subimages import list_offsets
from basicsr.utils.errors import DataError, UserError

ROOT = Path(__file__).parents[2]


def test_offsets() -> None:
    assert list_offsets(2040, 480, 240) == [*range(0, 1441, 240), 1560]
    assert list_offsets(480, 480, 240) == [0]
    assert list_offsets(500, 480, 240, thresh_size=20) == [0]
    assert list_offsets(501, 480, 240, thresh_size=20) == [0, 21]
    assert list_offsets(479, 480, 240) == []


def test_sub_images_are_cut_named_and_resumed(tmp_path: Path) -> None:
    image = photograph()[:200, :260]
    write(tmp_path / "in" / "catx4.png", image)
    count = extract_subimages(tmp_path / "in", tmp_path / "out", 100, 60, num_workers=2)
    assert count == 3 * 4
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names[0] == "cat_s001.png" and names[-1] == "cat_s012.png"
    assert np.array_equal(cv2.imread(str(tmp_path / "out" / "cat_s012.png")), image[-100:, -100:])
    assert np.array_equal(cv2.imread(str(tmp_path / "out" / "cat_s005.png")), image[60:160, :100])
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    assert extract_subimages(tmp_path / "in", tmp_path / "out", 100, 60) == 12
    assert times == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    (tmp_path / "out" / "cat_s007.png").unlink()
    extract_subimages(tmp_path / "in", tmp_path / "out", 100, 60)
    assert (tmp_path / "out" / "cat_s007.png").exists()


def test_one_bad_image_does_not_stop_the_others(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path / "in" / "good.png", photograph()[:100, :100])
    write(tmp_path / "in" / "small.png", photograph()[:50, :100])
    (tmp_path / "in" / "torn.png").write_bytes((tmp_path / "in" / "good.png").read_bytes()[:2000])
    with pytest.raises(DataError) as caught:
        extract_subimages(tmp_path / "in", tmp_path / "out", 80, 40)
    assert "1 of 3" in str(caught.value) and "torn.png" in str(caught.value)
    assert "small.png: 50x100 pixels, smaller than 80: skipped" in caplog.text
    assert len(list((tmp_path / "out").iterdir())) == 4
    with pytest.raises(UserError, match="step must be positive"):
        extract_subimages(tmp_path / "in", tmp_path / "out", 80, 0)


def test_sub_images_of_pairs_stay_pairs(tmp_path: Path) -> None:
    make_pairs(tmp_path, 2, template="{}x4", height=148, width=180)
    extract_subimages(tmp_path / "HR", tmp_path / "HR_sub", 96, 48)
    extract_subimages(tmp_path / "LR", tmp_path / "LR_sub", 24, 12)
    assert check_dataset(tmp_path / "HR_sub", tmp_path / "LR_sub", 4).problems == []
    assert [(size, step) for _, _, size, step in plan_div2k("x")] == [(480, 240), (240, 120), (160, 80), (120, 60)]


def test_meta_info_of_several_folders(tmp_path: Path) -> None:
    for number, image in enumerate(crops(3)):
        write(tmp_path / "a" / f"{number}.png", image)
    write(tmp_path / "b" / "deep" / "x.png", crops(1)[0][:, :, 0])
    assert generate_meta_info([tmp_path / "a", tmp_path / "b"], tmp_path / "all.txt") == 4
    assert (tmp_path / "all.txt").read_text().splitlines() == ["a/0.png", "a/1.png", "a/2.png", "b/deep/x.png"]
    generate_meta_info([tmp_path / "b"], tmp_path / "b.txt", [tmp_path / "b"], with_size=True)
    assert (tmp_path / "b.txt").read_text() == "deep/x.png (48,64,1)\n"
    (tmp_path / "a" / "1.png").write_bytes(b"torn")
    with pytest.raises(DataError, match=r"1\.png: not a readable image"):
        generate_meta_info([tmp_path / "a"], tmp_path / "a.txt", check=True)
    assert (tmp_path / "a.txt").read_text() == "a/0.png\na/2.png\n"
    with pytest.raises(UserError, match="does not lie in the root"):
        generate_meta_info([tmp_path / "a"], tmp_path / "a.txt", [tmp_path / "b"])


def test_meta_info_of_pairs_feeds_a_data_set(tmp_path: Path) -> None:
    make_pairs(tmp_path, 3, template="{}x4")
    assert generate_paired_meta_info(tmp_path / "HR", tmp_path / "LR", tmp_path / "p.txt", None, "{}x4") == 3
    assert (tmp_path / "p.txt").read_text().splitlines()[1] == "HR/p1.png, LR/p1x4.png"
    block = paired_block(tmp_path, dataroot_gt=tmp_path, dataroot_lq=tmp_path, meta_info_file=tmp_path / "p.txt")
    assert PairedImageDataset.check_files(block) == [] and len(PairedImageDataset(block)) == 3


def test_multiscale_copies(tmp_path: Path) -> None:
    write(tmp_path / "in" / "cat.png", photograph()[:240, :320])
    assert generate_multiscale(tmp_path / "in", tmp_path / "out", shortest_edge=60) == 4
    sizes = [cv2.imread(str(tmp_path / "out" / f"catT{i}.png")).shape[:2] for i in range(4)]
    assert sizes == [(180, 240), (120, 160), (80, 107), (60, 80)]
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    generate_multiscale(tmp_path / "in", tmp_path / "out", shortest_edge=60)
    assert times == {path.name: path.stat().st_mtime_ns for path in (tmp_path / "out").iterdir()}
    with pytest.raises(UserError, match="between 0 and 1"):
        generate_multiscale(tmp_path / "in", tmp_path / "out", [1.5])


def prepare_both(source: Path, target: Path, *, smaller: bool = False) -> list[Callable[[], int]]:
    """Cutting and copying into ``target/cut`` and ``target/copies``, with two sets of numbers."""
    size, scales = (32, [0.5]) if smaller else (64, [0.75, 0.5])
    return [
        partial(extract_subimages, source, target / "cut", size, size),
        partial(generate_multiscale, source, target / "copies", scales, 40),
    ]


def test_a_folder_keeps_one_set_of_numbers(tmp_path: Path) -> None:
    write(tmp_path / "in" / "cat.png", photograph()[:128, :192])
    for run in prepare_both(tmp_path / "in", tmp_path):
        run()
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    for run, made in zip(
        prepare_both(tmp_path / "in", tmp_path, smaller=True), ("crop_size 64, step 64", "scales [0.75, 0.5]")
    ):
        with pytest.raises(DataError, match=f"was made with {re.escape(made)}, not .*remove this one"):
            run()
    assert before == {path: path.read_bytes() for path in tmp_path.rglob("*.png")}
    for name in ("cut", "copies"):
        shutil.rmtree(tmp_path / name)
    for run in prepare_both(tmp_path / "in", tmp_path, smaller=True):
        run()
    assert len(list((tmp_path / "cut").iterdir())) == 4 * 6 and len(list((tmp_path / "copies").iterdir())) == 2


def test_folders_of_unknown_origin_are_refused(tmp_path: Path) -> None:
    write(tmp_path / "in" / "cat.png", photograph()[:128, :192])
    for name, run in zip(("cut", "copies"), prepare_both(tmp_path / "in", tmp_path)):
        write(tmp_path / name / "other.png", crops(1)[0])
        with pytest.raises(DataError, match=f"{name} holds images, but .*{name}_manifest.jsonl.* is missing"):
            run()
        assert [path.name for path in (tmp_path / name).iterdir()] == ["other.png"]


def test_results_never_go_among_the_originals(tmp_path: Path) -> None:
    write(tmp_path / "in" / "cat.png", photograph()[:128, :192])
    (tmp_path / "link").symlink_to(tmp_path / "in")
    before = sorted(tmp_path.rglob("*"))
    for target in ("in", "in/sub", "link", "."):
        with pytest.raises(DataError, match=r"output folder .* the input folder"):
            extract_subimages(tmp_path / "in", tmp_path / target, 64, 64)
        with pytest.raises(DataError, match=r"output folder .* the input folder"):
            generate_multiscale(tmp_path / "in", tmp_path / target)
    assert sorted(tmp_path.rglob("*")) == before
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="file: is a file, not a folder"):
        extract_subimages(tmp_path / "in", tmp_path / "file", 64, 64)


def test_names_that_clash_are_refused(tmp_path: Path) -> None:
    for name in ("p.png", "px4.png", "q.png", "q.jpg"):
        write(tmp_path / "in" / name, photograph()[:128, :192])
    with pytest.raises(DataError, match=r"p\.png and px4\.png would both become p_s001\.png"):
        extract_subimages(tmp_path / "in", tmp_path / "out", 64, 64)
    with pytest.raises(DataError, match=r"q\.jpg and q\.png would both become qT0\.png"):
        generate_multiscale(tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_folders_are_joined_unless_their_names_clash(tmp_path: Path) -> None:
    write(tmp_path / "a" / "cat.png", photograph()[:128, :192])
    write(tmp_path / "b" / "dog.png", photograph("coffee")[:128, :192])
    for source in ("a", "b"):
        for run in prepare_both(tmp_path / source, tmp_path):
            run()
    assert len(list((tmp_path / "cut").iterdir())) == 12 and len(list((tmp_path / "copies").iterdir())) == 6
    write(tmp_path / "c" / "cat.png", photograph("coffee")[:128, :192])
    for run in prepare_both(tmp_path / "c", tmp_path):
        with pytest.raises(DataError, match=r"already holds results of this name from .*a/cat\.png"):
            run()
    shutil.copy(tmp_path / "a" / "cat.png", tmp_path / "c" / "cat.png")
    for run in prepare_both(tmp_path / "c", tmp_path):
        run()


def test_images_that_have_changed_are_prepared_again(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write(tmp_path / "in" / f"{name}.png", photograph()[:128, :192])
    for run in prepare_both(tmp_path / "in", tmp_path):
        run()
    kept = {path: path.stat().st_mtime_ns for path in tmp_path.glob("c*/dog*.png")}
    assert len(kept) == 6 + 3
    image = photograph("coffee")[:64, :130]
    write(tmp_path / "in" / "cat.png", image)
    for run in prepare_both(tmp_path / "in", tmp_path):
        run()
    assert sorted(path.name for path in (tmp_path / "cut").glob("cat*")) == [f"cat_s00{i}.png" for i in (1, 2, 3)]
    assert np.array_equal(cv2.imread(str(tmp_path / "cut" / "cat_s003.png")), image[:, -64:])
    assert cv2.imread(str(tmp_path / "copies" / "catT1.png")).shape == (32, 65, 3)
    assert kept == {path: path.stat().st_mtime_ns for path in kept}


def test_a_killed_run_goes_on_where_it_stopped(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        write(tmp_path / "in" / f"{name}.png", photograph()[:128, :192])
    cut, _ = prepare_both(tmp_path / "in", tmp_path)
    cut()
    record = tmp_path / "cut_manifest.jsonl"
    settings, first, second = record.read_text().splitlines()
    record.write_text(f"{settings}\n{first}\n{second[:50]}")
    done, torn = json.loads(first)["files"], json.loads(second)["files"]
    stamps = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "cut").iterdir()}
    for _ in range(2):
        assert cut() == 12
    again = {path.name for path in (tmp_path / "cut").iterdir() if path.stat().st_mtime_ns != stamps[path.name]}
    assert again == set(torn) and not again.intersection(done)
    assert [json.loads(line) for line in record.read_text().splitlines()][1:] == [json.loads(first), json.loads(second)]


@pytest.mark.parametrize("line", [b'{"name": "\xff', b"{}", b"3", b'["name", "from", "source", "files"]'])
def test_damaged_lines_of_a_record_are_made_again(line: bytes, tmp_path: Path) -> None:
    write(tmp_path / "in" / "cat.png", photograph()[:128, :192])
    cut, _ = prepare_both(tmp_path / "in", tmp_path)
    cut()
    record = tmp_path / "cut_manifest.jsonl"
    whole = record.read_bytes()
    settings = whole.splitlines()[0]
    record.write_bytes(settings + b"\n" + line + b"\n")
    assert cut() == 6 and record.read_bytes() == whole
    record.write_bytes(line + b"\n" + whole)
    if line != b"{}":
        assert cut() == 6 and record.read_bytes() == whole
        return
    with pytest.raises(DataError, match="was made with"):
        cut()


def test_folder_check_counts_and_names(tmp_path: Path) -> None:
    root = make_pairs(tmp_path, 4)
    write(root / "HR" / "gray.png", crops(1)[0][:, :, 0])
    write(root / "LR" / "gray.png", crops(1, 12, 16)[0])
    report = check_dataset(root / "HR", root / "LR", 4)
    assert (report.images, report.gray, report.problems) == (10, 1, []) and report.smallest == (48, 64)
    (root / "HR" / "p0.png").write_bytes(b"torn")
    write(root / "LR" / "p1.png", crops(1, 10, 16)[0])
    (root / "LR" / "p2.png").unlink()
    problems = "\n".join(check_dataset(root / "HR", root / "LR", 4, min_size=50).problems)
    for part in ("p0.png: not a readable image", "are not 4 times", "lacks p2.png", "smaller than 50"):
        assert part in problems


def run_script(name: str, *arguments: object) -> int:
    """Runs a script in this process; returns its exit code."""
    kept = sys.argv
    sys.argv = [name, *map(str, arguments)]
    try:
        with pytest.raises(SystemExit) as left:
            runpy.run_path(str(ROOT / "scripts" / "data_preparation" / name), run_name="__main__")
    finally:
        sys.argv = kept
    return int(left.value.code or 0)


def test_command_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_pairs(tmp_path, 2, height=96, width=96)
    cut = ["--input", tmp_path / "HR", "--output", tmp_path / "sub", "--crop_size", 48, "--step", 24]
    assert run_script("extract_subimages.py", *cut) == 0
    assert len(list((tmp_path / "sub").iterdir())) == 18
    report = tmp_path / "report.json"
    (tmp_path / "HR" / "p1.png").write_bytes(b"torn")
    assert run_script("check_dataset.py", "--gt", tmp_path / "HR", "--lq", tmp_path / "LR", "--report", report) == 3
    assert "p1.png: not a readable image" in capsys.readouterr().out
    assert json.loads(report.read_text())["images"] == 4
    assert run_script("generate_meta_info.py", "--input", tmp_path / "no", "--meta_info", tmp_path / "m.txt") == 3
    message = capsys.readouterr().err
    assert "no such folder" in message and "Traceback" not in message
    pairs = ["--input", tmp_path / "LR", "--lq", tmp_path / "LR", "--root", tmp_path, "--meta_info", tmp_path / "m.txt"]
    assert run_script("generate_meta_info.py", *pairs) == 0
    assert (tmp_path / "m.txt").read_text().splitlines() == ["LR/p0.png, LR/p0.png", "LR/p1.png, LR/p1.png"]
    assert (
        run_script("create_lmdb.py", "--input", tmp_path / "LR", "--output", tmp_path / "x.lmdb", "--n_thread", 1) == 0
    )
    assert run_script("generate_multiscale_DF2K.py", "--input", tmp_path / "LR", "--output", tmp_path / "multi") == 0
    assert len(list((tmp_path / "multi").iterdir())) == 8
    into_file = ["--input", tmp_path / "LR", "--output", report]
    for script in ("extract_subimages.py", "generate_multiscale_DF2K.py"):
        assert run_script(script, *into_file) == 3
        assert "report.json: is a file, not a folder" in capsys.readouterr().err
    assert run_script("create_lmdb.py", "--input", tmp_path / "LR", "--output", report / "x.lmdb") == 3
    assert "Traceback" not in capsys.readouterr().err
    assert run_script("download_datasets.py", "Set4", "--root", tmp_path) == 2
    assert run_script("extract_subimages.py", "--input", tmp_path) == 2


@pytest.mark.parametrize("name", sorted(path.name for path in (ROOT / "scripts" / "data_preparation").glob("*.py")))
def test_every_command_describes_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run_script(name, "--help") == 0
    assert "example:\n  basicsr data " in capsys.readouterr().out
