"""What a folder of pictures is found to hold, and what is held out of training."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from photo_folders import crops, write

from basicsr.starting.survey import Survey, survey_folder
from basicsr.utils.errors import DataError


def names(survey: Survey) -> tuple[set[str], set[str]]:
    return {one.name for one in survey.train}, {one.name for one in survey.held_out}


@pytest.fixture
def mixed(tmp_path: Path) -> Path:
    """Eight different pictures in six formats and sub-folders."""
    for number, image in enumerate(crops(8, 40, 48)):
        suffix = ("png", "jpg", "webp", "tif", "bmp", "PNG")[number % 6]
        write(tmp_path / ("a b/ü" if number % 2 else "") / f"{number}, {number}.{suffix}", image)
    return tmp_path


def test_pictures_that_cannot_be_used_are_left_out_with_the_reason(mixed: Path) -> None:
    write(mixed / "small.png", crops(1, 20, 48)[0])
    content = (mixed / "0, 0.png").read_bytes()
    (mixed / "cut.png").write_bytes(content[: len(content) // 2])
    (mixed / "text.jpg").write_text("no picture")
    (mixed / "notes.txt").write_text("no picture either")
    survey = survey_folder(mixed, 32)
    train, held_out = names(survey)
    assert len(train | held_out) == 8
    assert len(held_out) == 1
    assert not train & held_out
    assert survey.left_out == {
        "cut.png": "cut short",
        "small.png": "48x20 pixels, too small (a side below 32)",
        "text.jpg": "not a readable image",
    }


def test_the_choice_depends_on_pixels_and_seed_and_not_on_names(mixed: Path) -> None:
    (one,) = survey_folder(mixed, 32).held_out
    (mixed / one.name).rename(mixed / f"renamed{Path(one.name).suffix}")
    (again,) = survey_folder(mixed, 32).held_out
    assert again.digest == one.digest
    assert again.name.startswith("renamed")
    others = {survey_folder(mixed, 32, seed).held_out[0].digest for seed in range(1, 5)}
    assert others - {one.digest}


def test_copies_of_a_held_out_picture_are_not_trained_on(mixed: Path) -> None:
    (chosen,) = survey_folder(mixed, 32).held_out
    image = cv2.imread(str(mixed / chosen.name))
    for name, copy in {
        "same.tif": image,
        "saved_again.jpg": image,
        "smaller.png": cv2.resize(image, None, fx=0.9, fy=0.9, interpolation=cv2.INTER_AREA),
        "deeper.png": image.astype(np.uint16) * 257,
        "mirrored.png": image[:, ::-1],
        "turned.png": np.rot90(image),
    }.items():
        write(mixed / name, copy)
    survey = survey_folder(mixed, 32)
    train, held_out = names(survey)
    copies = {"same.tif", "saved_again.jpg", "smaller.png", "deeper.png", "mirrored.png", "turned.png", chosen.name}
    # The first in the order is the same as before, or a copy of it.
    assert len(held_out) == 1
    assert held_out <= copies
    assert not train & copies
    assert {name for name, reason in survey.left_out.items() if "which is held out" in reason} == copies - held_out


def test_trainings_with_other_patches_hold_out_the_same(tmp_path: Path) -> None:
    for number, image in enumerate([*crops(8, 70, 80), *crops(4, 140, 150, "coffee")]):
        write(tmp_path / f"{number}.png", image)
    small, large = (survey_folder(tmp_path, side) for side in (64, 128))
    assert names(small)[1] == names(large)[1]
    assert names(large)[0] == {"8.png", "9.png", "10.png", "11.png"} - names(small)[1]
    assert set(large.left_out.values()) == {"80x70 pixels, too small (a side below 128)"}


@pytest.mark.parametrize("count", [0, 1, 2])
def test_two_different_pictures_are_the_least(tmp_path: Path, count: int) -> None:
    for number in range(count):
        write(tmp_path / f"{number}.png", crops(1, 40, 48)[0])
    with pytest.raises(DataError, match="no picture in this folder" if not count else "at least two different ones"):
        survey_folder(tmp_path, 32)


def test_all_too_small_is_said(tmp_path: Path) -> None:
    for number, image in enumerate(crops(3, 20, 24)):
        write(tmp_path / f"{number}.png", image)
    with pytest.raises(DataError, match=r"3 pictures, of which 0 can be used(.|\n)*2.png: 24x20 pixels, too small"):
        survey_folder(tmp_path, 32)
