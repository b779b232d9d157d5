"""Generated test sets: independent of order, workers and shards; resumable; reproducible from the manifest."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import skimage.data
import torch
from tiny_run import PROJECT, environment

from basicsr.cli import main
from basicsr.degradation.kernel_draws import KernelDraw
from basicsr.preparation import generation
from basicsr.preparation.generation import generate_dataset
from basicsr.preparation.generation_recipes import GenerationRecipe, hard_gated_recipe, second_order_recipe
from basicsr.utils.errors import DataError
from basicsr.utils.img_util import img2tensor, tensor2img


@pytest.fixture(scope="module")
def photographs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("photographs")
    for index, name in enumerate(("astronaut", "coffee", "chelsea", "rocket")):
        image = getattr(skimage.data, name)()[100:166, 50 : 120 + index]
        cv2.imwrite(str(folder / f"{name}.png"), image[..., ::-1])
    return folder


def read_files(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def read_all(folder: Path) -> dict[str, np.ndarray]:
    return {path.name: cv2.imread(str(path)) for path in sorted(folder.glob("*.png"))}


@pytest.mark.parametrize("make", [hard_gated_recipe, second_order_recipe])
def test_shards_and_order_do_not_matter(make: object, photographs: Path, tmp_path: Path) -> None:
    recipe = make(4, 5)  # type: ignore[operator]
    assert generate_dataset(recipe, photographs, tmp_path / "HR", tmp_path / "LR") == []
    for index in (1, 0):
        generate_dataset(recipe, photographs, tmp_path / "HR2", tmp_path / "LR2", shard=(index, 2))
    whole, sharded = read_all(tmp_path / "LR"), read_all(tmp_path / "LR2")
    assert list(whole) == ["astronaut.png", "chelsea.png", "coffee.png", "rocket.png"]
    for name, image in whole.items():
        np.testing.assert_array_equal(image, sharded[name])
        assert tuple(4 * n for n in image.shape[:2]) == read_all(tmp_path / "HR")[name].shape[:2]
    assert json.loads((tmp_path / "LR_manifest.json").read_text()).keys() == {p.name for p in photographs.iterdir()}


@pytest.mark.slow
def test_an_image_can_be_made_again_from_the_manifest(photographs: Path, tmp_path: Path) -> None:
    generate_dataset(hard_gated_recipe(4, 7), photographs, tmp_path / "HR", tmp_path / "LR", num_workers=2)
    manifest = json.loads((tmp_path / "LR_manifest.json").read_text())
    record = manifest["coffee.png"]
    recipe = GenerationRecipe(record["degradation"], record["scale"], record["seed"])
    gt = img2tensor(cv2.imread(str(tmp_path / "HR" / "coffee.png")).astype(np.float32) / 255)[None]
    made = tensor2img(recipe.degrade(gt, record))
    np.testing.assert_array_equal(made, cv2.imread(str(tmp_path / "LR" / "coffee.png")))


def test_a_second_run_makes_only_what_is_missing(photographs: Path, tmp_path: Path) -> None:
    folders = (photographs, tmp_path / "HR", tmp_path / "LR")
    generate_dataset(hard_gated_recipe(), *folders)
    kept, lost = tmp_path / "LR" / "astronaut.png", tmp_path / "LR" / "coffee.png"
    expected, stamp = lost.read_bytes(), kept.stat().st_mtime_ns
    lost.unlink()
    generate_dataset(hard_gated_recipe(), *folders)
    assert lost.read_bytes() == expected
    assert kept.stat().st_mtime_ns == stamp
    with pytest.raises(DataError, match="other options"):
        generate_dataset(hard_gated_recipe(seed=1), *folders)


def test_files_that_are_no_images_are_listed_and_the_rest_is_done(
    photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "good.png").write_bytes((photographs / "coffee.png").read_bytes())
    (source / "bad.png").write_bytes(b"not an image")
    (source / "half.png").write_bytes((photographs / "rocket.png").read_bytes()[:3000])
    flags = ["--hr_folder", tmp_path / "HR", "--lr_folder", tmp_path / "LR"]
    assert generate("--input", source, *flags) == 3
    errors = capsys.readouterr().err
    assert "bad.png: not a readable image" in errors
    assert "half.png: cut short" in errors
    assert list(read_all(tmp_path / "LR")) == ["good.png"]
    assert generate("--input", tmp_path / "nowhere", *flags) == 3
    assert "nowhere" in capsys.readouterr().err


def generate(*arguments: object, kind: str = "hard-gated") -> int:
    """Runs the command line; returns its exit code."""
    return main(["data", kind, *map(str, arguments), "--num_workers", "0"])


@pytest.mark.parametrize(
    ("hr", "lr", "message"),
    [
        ("HR", "in", "LR folder .*/in is the input folder"),
        ("in", "LR", "HR folder .*/in is the input folder"),
        ("same", "same", "HR folder .*/same is the LR folder"),
        ("HR", "in/LR", "LR folder .*/in/LR lies in the input folder"),
        ("../HR", "", "LR folder .* holds the input folder"),
        ("LR/HR", "LR", "HR folder .*/LR/HR lies in the LR folder"),
        ("HR", "link", "LR folder .*/in is the input folder"),
        ("elsewhere", "LR", "HR folder .*/elsewhere holds what .* links to"),
    ],
)
def test_photographs_are_never_mixed_with_results(
    hr: str, lr: str, message: str, photographs: Path, tmp_path: Path
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    (source / "coffee.png").write_bytes((photographs / "coffee.png").read_bytes())
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "far.png").write_bytes((photographs / "rocket.png").read_bytes())
    (source / "near.png").symlink_to(tmp_path / "elsewhere" / "far.png")
    (tmp_path / "link").symlink_to(source)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(DataError, match=message):
        generate_dataset(hard_gated_recipe(), source, tmp_path / hr, tmp_path / lr)
    assert sorted(tmp_path.rglob("*")) == before


def test_wrong_arguments_are_one_message(photographs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folders = ["--input", photographs, "--hr_folder", tmp_path / "HR", "--lr_folder", tmp_path / "LR"]
    for scale in (0, -2):
        assert generate(*folders, "--scale", scale) == 2
        assert f"scale: expected a positive integer, got {scale}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "HR").write_text("a file")
    assert generate(*folders) == 3
    assert "HR: is a file, not a folder" in capsys.readouterr().err
    assert generate("--input", photographs, "--hr_folder", "/proc/none", "--lr_folder", tmp_path / "LR") == 3
    assert "/proc/none: cannot be made" in capsys.readouterr().err
    assert generate(*folders[:3], tmp_path / "H", *folders[4:], "--only", "tea.png") == 3
    assert "has no tea.png; it has astronaut.png, chelsea.png" in capsys.readouterr().err


@pytest.mark.slow
def test_a_disk_that_cannot_be_written_ends_the_run(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "LR" / "coffee.png").mkdir(parents=True)
    with pytest.raises(DataError, match=r"results of coffee\.png cannot be written: .*coffee\.png"):
        generate_dataset(hard_gated_recipe(), photographs, tmp_path / "HR", tmp_path / "LR", num_workers=1)


def test_an_image_that_has_changed_is_made_again(
    photographs: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name, content in (("a.png", "coffee.png"), ("b.png", "rocket.png")):
        (source / name).write_bytes((photographs / content).read_bytes())
    folders = (source, tmp_path / "HR", tmp_path / "LR")
    generate_dataset(hard_gated_recipe(), *folders)
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "LR").iterdir()}
    os.utime(source / "a.png", ns=(0, 0))
    generate_dataset(hard_gated_recipe(), *folders)
    assert stamps == {path: path.stat().st_mtime_ns for path in (tmp_path / "LR").iterdir()}
    (source / "a.png").write_bytes((photographs / "chelsea.png").read_bytes())
    with caplog.at_level("INFO", "basicsr"):
        generate_dataset(hard_gated_recipe(), *folders)
    assert "a.png has changed since the last run" in caplog.text
    again = {path.name for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp}
    assert again == {"a.png"}
    np.testing.assert_array_equal(read_all(tmp_path / "HR")["a.png"], cv2.imread(str(source / "a.png"))[:64, :72])


@pytest.mark.parametrize("kind", ["hard-gated", "second-order"])
def test_single_images_are_reproduced_from_the_manifest(
    kind: str,
    photographs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    source = tmp_path / "in"
    (source / "deep").mkdir(parents=True)
    for name in ("coffee.png", "rocket.png", "deep/astronaut.png"):
        (source / name).write_bytes((photographs / Path(name).name).read_bytes())
    folders = ["--input", source, "--hr_folder", tmp_path / "HR", "--lr_folder", tmp_path / "LR"]
    assert generate(*folders, "--scale", 2, "--seed", 9, kind=kind) == 0
    again = ["--input", source, "--hr_folder", tmp_path / "HR2", "--lr_folder", tmp_path / "LR2"]
    names = ["coffee.png", "deep/astronaut.png"]
    reproduce = [*again, "--reproduce", tmp_path / "LR_manifest.json", "--only"]
    # The manifest counts, whatever this version would draw.
    monkeypatch.setattr(GenerationRecipe, "draw", lambda *_: {"kernels": {}, "parameters": {}})
    assert generate(*reproduce, *names) == 0
    for folder in ("HR", "LR"):
        made = sorted((tmp_path / f"{folder}2").rglob("*.png"))
        assert len(made) == 2
        for path in made:
            original = tmp_path / folder / path.relative_to(tmp_path / f"{folder}2")
            assert path.read_bytes() == original.read_bytes()
    first, second = (json.loads((tmp_path / f"{name}_manifest.json").read_text()) for name in ("LR", "LR2"))
    assert second == {name: first[name] for name in names}
    assert generate(*reproduce, "tea.png") == 3
    assert "LR_manifest.json has no tea.png" in capsys.readouterr().err
    (source / "rocket.png").write_bytes((photographs / "chelsea.png").read_bytes())
    assert generate(*reproduce, "rocket.png") == 3
    assert "rocket.png is not the image that the manifest was made from" in capsys.readouterr().err
    assert generate(*reproduce, "coffee.png", "--scale", 4) == 2


def test_sets_of_an_earlier_version_are_reproduced_but_not_continued(photographs: Path, tmp_path: Path) -> None:
    folders = (photographs, tmp_path / "HR", tmp_path / "LR")
    generate_dataset(second_order_recipe(), *folders, only=["coffee.png"])
    record_file, manifest = tmp_path / "LR_manifest" / "coffee.json", tmp_path / "LR_manifest.json"
    age(record_file)
    manifest.write_text(json.dumps({"coffee.png": json.loads(record_file.read_text())}))
    with pytest.raises(DataError, match="by an earlier version"):
        generate_dataset(second_order_recipe(), *folders)
    assert generate_dataset(manifest, photographs, tmp_path / "HR2", tmp_path / "LR2") == []
    assert (tmp_path / "LR2" / "coffee.png").read_bytes() == (tmp_path / "LR" / "coffee.png").read_bytes()
    # What was reproduced is of the earlier version too: it can be gone on with, but not mixed with this version's.
    assert generate_dataset(manifest, photographs, tmp_path / "HR2", tmp_path / "LR2") == []
    with pytest.raises(DataError, match="by an earlier version"):
        generate_dataset(second_order_recipe(), photographs, tmp_path / "HR2", tmp_path / "LR2")


def age(record_file: Path) -> None:
    """Makes a record what the first version wrote."""
    record = json.loads(record_file.read_text())
    record_file.write_text(json.dumps({key: record[key] for key in record.keys() - {"version", "source", "options"}}))


@pytest.mark.parametrize("choice", [{"only": ["rocket.png"]}, {"shard": (3, 4)}])
def test_no_choice_of_images_mixes_sets(choice: dict[str, Any], photographs: Path, tmp_path: Path) -> None:
    folders = (photographs, tmp_path / "HR", tmp_path / "LR")
    manifest, part = tmp_path / "LR_manifest.json", tmp_path / "LR_manifest" / "coffee.json"
    generate_dataset(hard_gated_recipe(), *folders, only=["coffee.png"])
    for recipe, difference in (
        (hard_gated_recipe(seed=1), "seed 233, not seed 1"),
        (hard_gated_recipe(2), "scale 4, not scale 2"),
    ):
        with pytest.raises(DataError, match=rf"LR was made with other options .*\(coffee\.png has {difference}\)"):
            generate_dataset(recipe, *folders, **choice)
    age(part)
    before = read_files(tmp_path)
    with pytest.raises(DataError, match=r"coffee\.png has version 1, not version 2"):
        generate_dataset(hard_gated_recipe(), *folders, **choice)
    assert read_files(tmp_path) == before
    # A set may have been copied without the parts of its manifest.
    manifest.write_text(json.dumps({"coffee.png": json.loads(part.read_text())}))
    part.unlink()
    with pytest.raises(DataError, match=r"coffee\.png has version 1, not version 2"):
        generate_dataset(hard_gated_recipe(), *folders, **choice)


def test_images_of_two_versions_are_reproduced_apart(photographs: Path, tmp_path: Path) -> None:
    generate_dataset(
        hard_gated_recipe(), photographs, tmp_path / "HR", tmp_path / "LR", only=["coffee.png", "rocket.png"]
    )
    manifest, again = tmp_path / "LR_manifest.json", (photographs, tmp_path / "HR2", tmp_path / "LR2")
    records = json.loads(manifest.read_text())
    del records["rocket.png"]["version"]
    manifest.write_text(json.dumps(records))
    with pytest.raises(
        DataError, match=r"LR_manifest\.json holds images of different .*\(version 1, not version 2\).*--only"
    ):
        generate_dataset(manifest, *again)
    assert not (tmp_path / "LR2").exists()
    assert generate_dataset(manifest, *again, only=["rocket.png"]) == []
    with pytest.raises(DataError, match=r"rocket\.png has version 1, not version 2"):
        generate_dataset(manifest, *again, only=["coffee.png"])


def test_a_record_that_is_none_is_named(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "LR_manifest").mkdir()
    (tmp_path / "LR_manifest" / "coffee.json").write_text("{}")
    with pytest.raises(DataError, match=r"coffee\.json is no record of a generated image; remove it"):
        generate_dataset(hard_gated_recipe(), photographs, tmp_path / "HR", tmp_path / "LR")


def test_single_images_keep_the_records_of_the_others(photographs: Path, tmp_path: Path) -> None:
    folders = (photographs, tmp_path / "HR", tmp_path / "LR")
    generate_dataset(hard_gated_recipe(), *folders, only=["rocket.png"])
    generate_dataset(hard_gated_recipe(), *folders, only=["coffee.png"])
    assert list(json.loads((tmp_path / "LR_manifest.json").read_text())) == ["coffee.png", "rocket.png"]
    assert list(read_all(tmp_path / "LR")) == ["coffee.png", "rocket.png"]


def test_what_is_no_manifest_is_named(photographs: Path, tmp_path: Path) -> None:
    folders = (photographs, tmp_path / "HR", tmp_path / "LR")
    with pytest.raises(DataError, match=r"m\.json cannot be read \(No such file"):
        generate_dataset(tmp_path / "m.json", *folders)
    for text in ("[]", "{", '{"a.png": {"seed": 1}}', '["a.png"]'):
        (tmp_path / "m.json").write_text(text)
        with pytest.raises(DataError, match=r"m\.json is no manifest"):
            generate_dataset(tmp_path / "m.json", *folders)


def test_the_final_filter_is_cut_off_from_a_third_on() -> None:
    recipe = second_order_recipe(4, 0)
    drawn = [recipe.draw(str(number), 8, 8)["kernels"] for number in range(200)]
    finals = [KernelDraw.from_dict(kernels["sinc_kernel"]) for kernels in drawn]
    cutoffs = [final.cutoff for final in finals if final.kind == "sinc"]
    assert 140 < len(cutoffs) < 180
    assert np.pi / 3 <= min(cutoffs) < 1.1 and 3.0 < max(cutoffs) <= np.pi
    assert {final.size for final in finals} == set(range(7, 22, 2))


@pytest.mark.faults
def test_workers_that_are_starting_are_quiet_when_interrupted(photographs: Path, tmp_path: Path) -> None:
    flags = ["--input", photographs, "--hr_folder", tmp_path / "HR", "--lr_folder", tmp_path / "LR"]
    command = [sys.executable, str(PROJECT / "scripts/generate_hgd_dataset.py"), *map(str, flags), "--num_workers", "2"]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True)
    children = Path(f"/proc/{running.pid}/task/{running.pid}/children")
    # The resource tracker and a worker.
    wait_until(lambda: len(children.read_text().split()) >= 2)
    time.sleep(0.3)
    os.killpg(running.pid, signal.SIGINT)
    text = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert "Traceback" not in text


@pytest.mark.faults
def test_a_run_that_is_interrupted_goes_on_to_the_same_result(photographs: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for index in range(12):
        cv2.imwrite(str(source / f"{index:02d}.png"), skimage.data.astronaut()[index:, index:])
    flags = ["--input", source, "--hr_folder", tmp_path / "HR", "--lr_folder", tmp_path / "LR", "--num_workers", "1"]
    command = [sys.executable, str(PROJECT / "scripts/generate_hgd_dataset.py"), *map(str, flags)]
    running = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment(), start_new_session=True)
    wait_until(lambda: len(list((tmp_path / "LR").glob("*.png"))) >= 2)
    os.killpg(running.pid, signal.SIGINT)
    text = running.communicate(timeout=60)[1]
    assert running.returncode == 130
    assert "run the same command again" in text
    assert "Traceback" not in text
    done = {path: path.stat().st_mtime_ns for path in (tmp_path / "LR").glob("*.png")}
    assert 2 <= len(done) < 12
    assert generate_dataset(hard_gated_recipe(), source, tmp_path / "HR", tmp_path / "LR") == []
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in list(done.items())[:-1])
    generate_dataset(hard_gated_recipe(), source, tmp_path / "HR2", tmp_path / "LR2")
    resumed, whole = read_all(tmp_path / "LR"), read_all(tmp_path / "LR2")
    assert resumed.keys() == whole.keys()
    assert all(np.array_equal(resumed[name], whole[name]) for name in whole)
    assert len(json.loads((tmp_path / "LR_manifest.json").read_text())) == 12


def test_a_worker_that_dies_is_explained(photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class DyingPool:
        def __init__(self, *_: object, **__: object) -> None: ...

        def submit(self, *_: object) -> Future[object]:
            future: Future[object] = Future()
            future.set_exception(BrokenProcessPool())
            return future

        def shutdown(self, **_: object) -> None: ...

    monkeypatch.setattr(generation, "ProcessPoolExecutor", DyingPool)
    with pytest.raises(DataError, match="lower --num_workers"):
        generate_dataset(hard_gated_recipe(), photographs, tmp_path / "HR", tmp_path / "LR", num_workers=2)


def wait_until(condition: Callable[[], bool], seconds: float = 120) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def test_names_that_clash_are_refused(photographs: Path, tmp_path: Path) -> None:
    source = tmp_path / "in"
    source.mkdir()
    for name in ("a.png", "a.jpg"):
        (source / name).write_bytes((photographs / "coffee.png").read_bytes())
    with pytest.raises(DataError, match=r"a\.jpg and a\.png would both become a\.png"):
        generate_dataset(hard_gated_recipe(), source, tmp_path / "HR", tmp_path / "LR")


def test_simple_recipe_gives_eight_bit_images() -> None:
    recipe = hard_gated_recipe(2, 3)
    gt = torch.rand(1, 3, 32, 24, generator=torch.Generator().manual_seed(0))
    lq = recipe.degrade(gt, recipe.draw("x", 32, 24))
    torch.testing.assert_close(lq * 255, (lq * 255).round(), rtol=0, atol=1e-4)
