"""Photographs with a known order of quality, and a run whose critics score them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from critic_runs import save_experiment
from skimage import data


@pytest.fixture(scope="session")
def experiment(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_experiment(tmp_path_factory.mktemp("experiments") / "dual")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight crops of photographs of two sizes, with a guide file beside the folder's images."""
    folder = tmp_path_factory.mktemp("photos")
    lines = []
    for number, name in enumerate(("astronaut", "chelsea", "coffee", "rocket")):
        image = np.ascontiguousarray(getattr(data, name)()[60:140, 100:196, ::-1])
        cv2.imwrite(str(folder / f"{name}.png"), image)
        cv2.imwrite(str(folder / f"{name}_blur.png"), cv2.GaussianBlur(image, (9, 9), 3)[:72, :80])
        lines += [f"{name}.png,{4 + 0.1 * number}", f"{name}_blur.png,{2 - 0.1 * number}"]
    (folder / "guide.txt").write_text("\n".join(lines) + "\n")
    return folder


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Networks this small are faster on one thread, above all where cores are shared."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, experiment: Path) -> Path:
    """An empty folder with one trained run, as a user would have it."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(experiment, tmp_path / "experiments" / "dual")
    return tmp_path
