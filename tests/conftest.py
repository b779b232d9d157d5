"""Shared fixtures. Tests never touch the network, and keep torch on one thread: networks are tiny here."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).parent))
from tiny_run import close_log_files

torch.set_num_threads(1)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of ``pytest -m campaign``; see ``docs/reliability.md``."""
    parser.addoption(
        "--campaign-share", type=float, default=1.0, help="part of the campaign's cases to run (default: 1)"
    )
    parser.addoption("--campaign-seed", type=int, default=0, help="draws the campaign's cases (default: 0)")
    parser.addoption("--campaign-report", metavar="FILE", help="write the campaign's figures and losses as JSON")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skips tests of published files where there are none; files with the longest tests go first, to end together."""
    if not os.environ.get("BASICSR_REAL_DATA"):
        absent = pytest.mark.skip(reason="BASICSR_REAL_DATA names no folder with real/ and options/")
        for item in items:
            if item.get_closest_marker("real"):
                item.add_marker(absent)
    first = ("test_extension.py", "test_every_recipe.py", "test_scripts_score.py")
    items.sort(key=lambda item: first.index(item.path.name) if item.path.name in first else len(first))


@pytest.fixture(scope="module", autouse=True)
def new_logger() -> None:
    """The package's logger as a new process has it, whatever commands and ranks an earlier file has played."""
    close_log_files()
    logging.getLogger("basicsr").setLevel(logging.NOTSET)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder of published files, with ``real/`` and ``options/``; tests that need it are marked ``real``."""
    folder = Path(os.environ["BASICSR_REAL_DATA"])
    missing = [name for name in ("real", "options") if not (folder / name).is_dir()]
    assert not missing, f"BASICSR_REAL_DATA names {folder}, which has no {' and no '.join(missing)}"
    return folder
