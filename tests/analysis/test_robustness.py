from __future__ import annotations

import csv
import itertools
import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from critic_runs import Judged
from skimage import data

from basicsr.analysis.images import Runtime, list_images, read_image
from basicsr.analysis.robustness import (
    BandScores,
    RobustnessSettings,
    measure_robustness,
)
from basicsr.analysis.robustness_report import (
    RobustnessReport,
    average_critics,
    check_critic_labels,
    find_switch_over,
    summarise_scores,
)
from basicsr.utils.errors import DataError, UserError

SETTINGS = RobustnessSettings(input_size=32, divide=5, noise_std=20)


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("photos")
    for name in ("astronaut", "chelsea", "coffee"):
        cv2.imwrite(str(folder / f"{name}.png"), getattr(data, name)()[120:180, 120:184, ::-1])
    return list_images(folder)


def detail(x: torch.Tensor) -> torch.Tensor:
    return (x[..., 1:] - x[..., :-1]).square().mean(dim=(1, 2, 3))


def brightness(x: torch.Tensor) -> torch.Tensor:
    return x.mean(dim=(1, 2, 3))


def perturb_slowly(image: torch.Tensor, noise: torch.Tensor, edges: tuple[float, ...]) -> list[torch.Tensor]:
    """One band at a time with full complex FFTs and a mask written out as the definition says."""
    size = image.shape[-1]
    frequency = torch.fft.fftfreq(size, dtype=torch.float64)
    radius = torch.sqrt(2 * (frequency[:, None] ** 2 + frequency[None] ** 2)) + 1e-9
    images = [image]
    for source, remove in ((image, True), (noise, False)):
        for low, high in itertools.pairwise(edges):
            mask = (radius >= low) & ((radius < high) | (high == 1))
            part = torch.fft.ifft2(torch.fft.fft2(source) * mask).real
            images.append((image - part if remove else image + part).clamp(0, 1))
    return images


def test_scores_equal_one_image_one_band_at_a_time(photos: list[Path]):
    crops: list[torch.Tensor] = []

    def spy(x: torch.Tensor) -> torch.Tensor:
        crops.extend(x)
        return detail(x)

    scores, bad = measure_robustness(photos, {"D": Judged(spy, "spy")}, SETTINGS, Runtime(batch_size=7))
    assert not bad and scores["D"].images == ("astronaut.png", "chelsea.png", "coffee.png")
    for index in range(3):
        seen = crops[11 * index : 11 * (index + 1)]
        noise = torch.zeros(3, 32, 32)
        for band in range(5):
            noise += seen[6 + band] - seen[0]
        expected = perturb_slowly(seen[0], noise, SETTINGS.edges)
        for mine, other in zip(seen[:6], expected[:6]):
            torch.testing.assert_close(mine, other, atol=2e-6, rtol=1e-5)
        values = detail(torch.stack(seen)).double().numpy()
        np.testing.assert_allclose(scores["D"].clean[index], values[0], rtol=1e-6)
        np.testing.assert_allclose(scores["D"].masked[index], values[1:6], rtol=1e-6)
        np.testing.assert_allclose(scores["D"].noisy[index], values[6:], rtol=1e-6)


def test_noise_is_band_limited_and_has_the_right_power(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "gray.png"), np.full((64, 64, 3), 128, np.uint8))
    seen: list[torch.Tensor] = []

    def spy(x: torch.Tensor) -> torch.Tensor:
        seen.append(x)
        return brightness(x)

    settings = RobustnessSettings(input_size=64, divide=4, noise_std=10)
    measure_robustness([tmp_path / "gray.png"], {"D": Judged(spy, "spy")}, settings, Runtime(batch_size=100))
    noises = seen[0][5:] - seen[0][0]
    assert noises.sum(0).std().item() * 255 == pytest.approx(10, rel=0.05)
    frequency = torch.fft.fftfreq(64, dtype=torch.float64)
    radius = torch.sqrt(2 * (frequency[:, None] ** 2 + frequency[None] ** 2)) + 1e-9
    for band, noise in enumerate(noises):
        power = torch.fft.fft2(noise).abs().square().sum(0)
        inside = (radius >= band / 4) & (radius < (band + 1) / 4 + (band == 3))
        assert power[~inside].sum() < 1e-6 * power.sum()


def test_results_do_not_depend_on_order_batches_or_workers(photos: list[Path]):
    settings = replace(SETTINGS, repeat=2)
    critics = {"D": Judged(detail, "detail")}
    first = measure_robustness(photos, critics, settings, Runtime(batch_size=3))[0]["D"]
    second = measure_robustness(photos[::-1], critics, settings, Runtime(batch_size=50, num_workers=2))[0]["D"]
    order = [4, 5, 2, 3, 0, 1]
    assert [second.images[index] for index in order] == list(first.images)
    np.testing.assert_allclose(first.masked, second.masked[order], rtol=1e-5)
    np.testing.assert_allclose(first.noisy, second.noisy[order], rtol=1e-5)


def test_curves_average_images_once_and_ensemble_scores():
    first = BandScores(("a", "b"), np.array([1.0, 2.0]), np.array([[0.0, 1.5], [4.0, 2.0]]), np.zeros((2, 2)))
    second = BandScores(("a", "b"), np.array([3.0, 0.0]), np.array([[3.0, 3.0], [0.0, 1.0]]), np.ones((2, 2)))
    curve = summarise_scores("D", first, (0, 0.5, 1))
    np.testing.assert_allclose(curve.masked.absolute, [1.5, 0.25])
    np.testing.assert_allclose(curve.masked.signed, [0.5, 0.25])
    np.testing.assert_allclose(curve.masked.error, [0.5, 0.25])
    np.testing.assert_allclose(curve.frequency, [0.25, 0.75])
    both = average_critics([first, second])
    np.testing.assert_allclose(both.masked, [[1.5, 2.25], [2.0, 1.5]])
    np.testing.assert_allclose(both.clean, [2.0, 1.0])
    with pytest.raises(ValueError, match="same images"):
        average_critics([first, BandScores(("a", "c"), second.clean, second.masked, second.noisy)])


def test_crops_of_one_image_are_no_images_of_their_own():
    names = ("a", "a", "a", "b")
    masked = np.array([[1.0], [2.0], [3.0], [4.0]])
    scores = BandScores(names, np.array([0.5, 0.5, 0.5, -0.5]), masked + [[0.5], [0.5], [0.5], [-0.5]], -masked)
    curve = summarise_scores("D", scores, (0, 1))
    # Image a moves by 2 on average, image b by 4.
    np.testing.assert_allclose((curve.masked.absolute, curve.masked.signed), 3)
    np.testing.assert_allclose(curve.masked.error, 1)
    assert (curve.clean_mean, curve.clean_std) == (0, 0.5)
    report = RobustnessReport({"D": scores}, RobustnessSettings(input_size=8, divide=1, repeat=3))
    assert (report.images, report.num_crops) == (("a", "b"), 4)
    assert "2 images, 4 crops" in report.format()


@pytest.mark.parametrize(
    ("label", "message"),
    [("mean", "cannot be called 'mean'"), ("a/b", "files are named by it"), ("", "files are named by it")],
)
def test_labels_that_would_be_lost_are_refused(label: str, message: str):
    scores = BandScores(("a",), np.zeros(1), np.ones((1, 5)), np.ones((1, 5)))
    with pytest.raises(UserError, match=message):
        RobustnessReport({label: scores, "B": scores}, SETTINGS)
    with pytest.raises(UserError, match="critics need different names; got B, B"):
        check_critic_labels(["B", "B"])


def test_switch_over_is_free_of_scale_and_interpolated():
    frequency = np.array([0.1, 0.3, 0.5, 0.7, 0.9])
    rising = np.exp([1.0, 2, 3, 4, 5])
    falling = rising[::-1]
    switch = find_switch_over(falling, 100 * rising, frequency)
    assert switch.r1 == switch.r2 == pytest.approx(0.5)
    bump = np.exp([0.0, 3, 4, 3, 0])
    switch = find_switch_over(np.full(5, 3.0), bump, frequency)
    assert len(switch.crossings) == 2 and switch.r1 == pytest.approx(0.1 + 0.2 * 2 / 3)
    assert switch.r2 == pytest.approx(0.9 - 0.2 * 2 / 3)
    assert find_switch_over(rising, rising * 7, frequency).r1 is None
    assert find_switch_over(np.ones(5), np.zeros(5), frequency).crossings == ()


def test_cache_is_used_only_for_the_same_computation(photos: list[Path], tmp_path: Path):
    calls = {"count": 0}

    def counted(x: torch.Tensor) -> torch.Tensor:
        calls["count"] += 1
        return detail(x)

    def measure(paths: list[Path], identity: str = "weights 1", settings: RobustnessSettings = SETTINGS) -> bool:
        before = calls["count"]
        critics = {"D": Judged(counted, identity)}
        scores.append(measure_robustness(paths, critics, settings, cache={"D": tmp_path / "cache"})[0]["D"])
        return calls["count"] > before

    scores: list[BandScores] = []
    assert measure(photos)
    assert not measure(photos)
    np.testing.assert_array_equal(scores[0].noisy, scores[1].noisy)
    assert scores[0].images == scores[1].images
    assert measure(photos[:2])
    assert measure(photos, "weights 2")
    for change in ({"noise_std": 5}, {"seed": 1}, {"mask": "published"}, {"divide": 4}, {"input_size": 30}):
        assert measure(photos, settings=replace(SETTINGS, **change))
    copies = tmp_path / "copies"
    copies.mkdir()
    for path in photos:
        (copies / path.name).write_bytes(path.read_bytes())
    assert not measure(list_images(copies))
    cv2.imwrite(str(copies / "coffee.png"), 255 - read_image(copies / "coffee.png").permute(1, 2, 0).numpy())
    assert measure(list_images(copies))


@pytest.mark.parametrize("damage", ["cut", "empty", "garbage", "other", "flipped", "method"])
def test_damaged_cache_entries_are_computed_anew(
    damage: str, photos: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
):
    critics = {"D": Judged(detail, "weights")}
    first = measure_robustness(photos[:1], critics, SETTINGS, cache={"D": tmp_path})[0]["D"]
    (entry,) = tmp_path.glob("*.npz")
    whole = entry.read_bytes()
    if damage == "other":
        np.savez(entry, images=np.array(["astronaut.png"]))
    else:
        middle = len(whole) // 2
        flipped = whole[:100] + bytes(255 - value for value in whole[100:900]) + whole[900:]
        broken = {"cut": whole[:middle], "empty": b"", "garbage": b"garbage" * 50, "flipped": flipped}
        central = whole.index(b"PK\1\2")
        broken["method"] = whole[: central + 10] + b"\x63" + whole[central + 11 :]
        entry.write_bytes(broken[damage])
    again = measure_robustness(photos[:1], critics, SETTINGS, cache={"D": tmp_path})[0]["D"]
    np.testing.assert_array_equal(first.masked, again.masked)
    assert f"{entry} is damaged" in caplog.text
    assert entry.stat().st_size == len(whole)


def test_every_critic_can_have_its_own_cache(photos: list[Path], tmp_path: Path, caplog: pytest.LogCaptureFixture):
    critics = {"D": Judged(detail, "d"), "S": Judged(brightness, "s")}
    folders = {"D": tmp_path / "one", "S": tmp_path / "two"}
    measure_robustness(photos[:1], critics, SETTINGS, cache=folders)
    assert [len(list(folder.glob("*.npz"))) for folder in folders.values()] == [1, 1]
    (tmp_path / "file").touch()
    measure_robustness(photos[:1], critics, SETTINGS, cache=dict.fromkeys(critics, tmp_path / "file" / "cache"))
    assert "scores cannot be kept in" in caplog.text


def test_files_that_cannot_be_read_are_named_with_a_cache_too(photos: list[Path], tmp_path: Path):
    (tmp_path / "dangling.png").symlink_to(tmp_path / "absent.png")
    critics = {"D": Judged(detail, "d")}
    for _ in range(2):
        paths = [*photos[:1], *list_images(tmp_path)]
        _, bad = measure_robustness(paths, critics, SETTINGS, cache={"D": tmp_path / "cache"})
        assert [str(file) for file in bad] == ["dangling.png: is a link to nothing"]


def test_report_files(photos: list[Path], tmp_path: Path):
    (tmp_path / "broken.png").write_bytes(b"?")
    critics = {"D": Judged(detail, "d"), "S": Judged(brightness, "s")}
    scores, bad = measure_robustness([*photos, tmp_path / "broken.png"], critics, SETTINGS)
    report = RobustnessReport(scores, SETTINGS, bad)
    assert [curve.label for curve in report.curves] == ["D", "S", "mean"]
    # Only the zero-frequency band changes the mean brightness (up to clamping).
    assert report.curves[1].masked.absolute.argmax() == 0
    assert set(report.switch_over) == {"masked", "noisy"}
    json_path, csv_path = report.write(tmp_path / "robustness", {"images": "/photos"})
    content = json.loads(json_path.read_text())
    assert content["source"] == {"images": "/photos"} and content["switch_over_between"] == ["D", "S"]
    assert content["num_images"] == 3 and content["bad_files"][0]["name"] == "broken.png"
    assert len(content["critics"]["mean"]["masked"]["absolute"]) == 5
    rows = list(csv.DictReader(csv_path.open()))
    assert len(rows) == 3 * 2 * 5
    assert float(rows[0]["mean_absolute_change"]) == report.curves[0].masked.absolute[0]
    assert ("D masked" in report.format() and "r1" in report.format()) or "cross" in report.format()


def test_useless_input_is_refused(tmp_path: Path):
    cv2.imwrite(str(tmp_path / "small.png"), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(DataError, match=r"small\.png.*20x20"):
        measure_robustness([tmp_path / "small.png"], {"D": Judged(detail, "d")}, SETTINGS)
    for setting in ({"divide": 0}, {"input_size": 1}, {"repeat": 0}, {"noise_std": -1.0}, {"noise_std": float("nan")}):
        with pytest.raises(UserError, match=f"{next(iter(setting))} must be"):
            RobustnessSettings(**setting)
