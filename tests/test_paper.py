"""What benchmarks say without running anything: the speed-run's target, and the tables of docs/scaling.md."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]


def load(name: str, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module(name)


@pytest.mark.parametrize(
    ("astronaut", "motorcycle", "distance", "is_reached"),
    [(0.7, 0.6, 17.0, True), (0.5, 0.6, 17.0, False), (0.7, 0.4, 17.0, False), (0.7, 0.6, 18.0, False)],
)
def test_a_speed_run_counts_when_all_of_its_target_is_reached(
    astronaut: float, motorcycle: float, distance: float, is_reached: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    gains = {"astronaut": astronaut, "motorcycle_left": motorcycle}
    summary = {
        name: {"bicubic": {"psnr_y": 20.0}, "net_g": {"psnr_y": 20.0 + gain, "spectral_distance": distance}}
        for name, gain in gains.items()
    }
    values, found = load("speedrun", monkeypatch).judge(summary)
    assert found is is_reached
    assert values == pytest.approx({**gains, "spectral_distance": distance})


def test_the_page_on_scaling_has_the_tables_of_its_script(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/scaling.md").read_text(encoding="utf-8")
    for table in load("scaling", monkeypatch).make_tables().values():
        assert table in page


def test_gradients_go_round_each_ring_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scaling = load("scaling", monkeypatch)
    assert scaling.Cluster(1).reduction_s(1e9) == 0
    assert scaling.Cluster(2, inside=1e9).reduction_s(1e9) == pytest.approx(1)
    both = scaling.Cluster(16, inside=1e9, between=1e9).reduction_s(1e9)
    assert both == pytest.approx(2 * 7 / 8 + 2 * 1 / 2)


def test_a_list_of_images_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "1,000 pairs: list " in load("scaling", monkeypatch).measure(1000)
