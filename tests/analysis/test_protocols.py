from __future__ import annotations

from pathlib import Path

import pytest

from basicsr.analysis.critic_arguments import PRESETS, canonical_name, default_ensemble, find_preset
from basicsr.analysis.opinions import read_guide
from basicsr.analysis.scorer import CropPlan, Window
from basicsr.utils.errors import DataError, UserError


def test_patchify_places_every_window_on_the_grid():
    windows = CropPlan("patchify", (192, 192), stride=64).place_windows("a.png", 288, 320)
    assert windows == [Window(top, left, 192, 192) for top in (0, 64) for left in (0, 64, 128)]
    assert CropPlan("patchify", (64, 64)).place_windows("a.png", 64, 64) == [Window(0, 0, 64, 64)]


def test_random_windows_reach_every_offset_including_the_last():
    plan = CropPlan("random", (62, 61), n_ensemble=200)
    windows = plan.place_windows("a.png", 64, 64)
    assert {window.top for window in windows} == {0, 1, 2}
    assert {window.left for window in windows} == {0, 1, 2, 3}
    assert set(CropPlan("random", (64, 64), n_ensemble=3).place_windows("a.png", 64, 64)) == {Window(0, 0, 64, 64)}


def test_random_windows_depend_on_seed_and_name_only():
    plan = CropPlan("random", (32, 32), n_ensemble=5)
    first = plan.place_windows("a.png", 100, 100)
    assert plan.place_windows("a.png", 100, 100) == first
    assert plan.place_windows("b.png", 100, 100) != first
    assert CropPlan("random", (32, 32), n_ensemble=5, seed=1).place_windows("a.png", 100, 100) != first
    longer = CropPlan("random", (32, 32), n_ensemble=9).place_windows("a.png", 100, 100)
    assert longer[:5] == first


def test_default_protocol_is_the_whole_image():
    assert CropPlan("default").place_windows("a.png", 50, 70) == [Window(0, 0, 50, 70)]
    assert CropPlan("default", (50, 70)).place_windows("a.png", 50, 70) == [Window(0, 0, 50, 70)]
    with pytest.raises(DataError, match=r"70x51.*70x50"):
        CropPlan("default", (50, 70)).place_windows("a.png", 51, 70)


@pytest.mark.parametrize("protocol", ["patchify", "random"])
def test_images_smaller_than_the_window_are_refused(protocol):
    with pytest.raises(DataError, match=r"100x31.*32x32"):
        CropPlan(protocol, (32, 32)).place_windows("a.png", 31, 100)
    with pytest.raises(UserError, match="--img_size"):
        CropPlan(protocol)


@pytest.mark.parametrize("change", [{"protocol": "all"}, {"stride": 0}, {"n_ensemble": 0}, {"size": (0, 5)}])
def test_bad_plans_are_refused(change):
    with pytest.raises(UserError):
        CropPlan(**{"size": (8, 8), **change})


def test_presets_are_the_papers():
    koniq, clive = find_preset("KonIQ-10k"), find_preset("CLIVE")
    assert koniq.img_size == clive.img_size == (384, 384)
    assert (koniq.spatial_window, koniq.spectral_window, koniq.protocol) == (24, 6, "random")
    assert find_preset("PIPAL_TradSR") == PRESETS["PIPAL"]
    assert find_preset("PIPAL").protocol == "patchify" and find_preset("PIPAL").img_size == (192, 192)
    assert (default_ensemble("koniq"), default_ensemble("CLIVE"), default_ensemble("mine")) == (40, 20, 20)
    assert canonical_name("my photos") is None
    with pytest.raises(UserError, match="KonIQ-10k"):
        find_preset("TID2013")


def test_guide_lists_scores_and_every_bad_line(tmp_path: Path):
    guide_file = tmp_path / "guide.txt"
    guide_file.write_text(
        "image_name,MOS\na.png,3.5\n\n b,c.png , 2 \nnoscore.png\nempty.png,\nword.png,good\na.png,1\nnan.png,nan\n"
    )
    guide = read_guide(guide_file)
    assert dict(guide.scores) == {"a.png": 3.5, "b,c.png": 2.0}
    assert [bad.name for bad in guide.bad_lines] == [f"guide.txt, line {n}" for n in (5, 6, 7, 8, 9)]
    assert "noscore.png" in str(guide.bad_lines[0]) and "before" in str(guide.bad_lines[3])
    (tmp_path / "a.png").touch()
    paths, missing = guide.find_images(tmp_path)
    assert paths == {"a.png": tmp_path / "a.png"}
    assert [bad.name for bad in missing] == ["b,c.png"]


def test_guide_without_any_score_is_refused(tmp_path: Path):
    (tmp_path / "guide.txt").write_text("a.png\nb.png\n")
    with pytest.raises(DataError, match=r"guide\.txt.*\n.*a\.png"):
        read_guide(tmp_path / "guide.txt")
    with pytest.raises(DataError, match="cannot be read"):
        read_guide(tmp_path / "absent.txt")
    (tmp_path / "good.txt").write_text("a.png,1")
    with pytest.raises(DataError, match="no such folder"):
        read_guide(tmp_path / "good.txt").find_images(tmp_path / "absent")
    with pytest.raises(DataError, match=r"none of the images.*a\.png"):
        read_guide(tmp_path / "good.txt").find_images(tmp_path)
