"""The house's rules: imports run down its rooms, and no room outgrows the others; see ``docs/architecture.md``."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tiny_run import PROJECT

PUBLISHED_PATHS = {
    "basicsr.data.degradations",
    "basicsr.models.esrgan_model",
    "basicsr.models.realesrgan_model",
    "basicsr.models.realesrnet_model",
    "basicsr.models.srgan_model",
    "basicsr.utils.options",
    "basicsr.utils.published",
}
"""Files that hold nothing but published re-exports: they alone may import from above."""

LARGEST_SHARE = 0.15


def load_scanner() -> ModuleType:
    spec = importlib.util.spec_from_file_location("draw_architecture", PROJECT / "docs/draw_architecture.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


scanner = load_scanner()


@pytest.fixture(scope="module")
def house() -> scanner.House:
    return scanner.House()


def test_imports_between_rooms_run_down_and_in_no_circle(house: scanner.House) -> None:
    upward = "\n".join(map(str, house.upward_arrows()))
    circles = "\n".join(" > ".join(circle) for circle in house.circles())
    assert not upward, f"imports that run up:\n{upward}\ncircles:\n{circles or 'none'}"
    assert not circles, f"circles:\n{circles}"


def test_exempt_files_hold_published_re_exports_alone(house: scanner.House) -> None:
    assert house.reexports == PUBLISHED_PATHS


def test_every_folder_is_a_room_and_every_room_a_folder(house: scanner.House) -> None:
    folders = {file.parent.name for file in (PROJECT / "basicsr").glob("*/*.py")}
    assert folders == set(scanner.ROOMS) - {scanner.ENTRY}


def test_no_room_outgrows_the_others(house: scanner.House) -> None:
    total = sum(house.lines.values())
    shares = {room: lines / total for room, lines in house.lines.items()}
    too_large = {room: f"{share:.1%}" for room, share in shares.items() if share >= LARGEST_SHARE}
    assert not too_large, f"of {total} lines: {too_large}"


def test_the_picture_is_drawn(house: scanner.House, tmp_path: Path) -> None:
    scanner.Picture(house).save(tmp_path / "house.png")
    assert (tmp_path / "house.png").read_bytes().startswith(b"\x89PNG")


def make_package(root: Path, files: dict[str, str]) -> scanner.House:
    for name, text in files.items():
        file = root / "basicsr" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        (file.parent / "__init__.py").touch()
    (root / "basicsr/__init__.py").touch()
    return scanner.House(root / "basicsr")


@pytest.mark.parametrize(
    "text",
    [
        "import basicsr.engine.run\n",
        "from basicsr.engine import run\n",
        "from basicsr.engine.run import name\n",
        "from ..engine.run import name\n",
        "from ..engine import run\n",
        "def late():\n    from basicsr.engine.run import name\n",
        "if TYPE_CHECKING:\n    from basicsr.engine.run import name\n",
        "import_module('basicsr.engine.run')\n",
        "importlib.import_module('basicsr.engine.run')\n",
        "NAMES = ('engine.run',)\nimport_module(f'basicsr.{NAMES[0]}')\n",
        "pkgutil.resolve_name('basicsr.engine.run:name')\n",
    ],
)
def test_an_upward_import_is_found_in_every_spelling(text: str, tmp_path: Path) -> None:
    house = make_package(tmp_path, {"engine/run.py": "", "data/loader.py": text})
    assert [arrow.target for arrow in house.upward_arrows()] == ["basicsr.engine.run"]


def test_a_circle_is_found_once_and_a_re_export_hides_nothing(tmp_path: Path) -> None:
    house = make_package(
        tmp_path,
        {
            "engine/run.py": "from basicsr.data import loader",
            "utils/options.py": '"""Published."""\nfrom basicsr.engine.run import name\n__all__ = ["name"]\n',
            "data/loader.py": "from basicsr.utils.options import name\n",
        },
    )
    assert house.reexports == {"basicsr.utils.options"}
    assert [str(arrow) for arrow in house.upward_arrows()] == [
        "basicsr.data.loader, line 1: imports basicsr.engine.run"
    ]
    assert house.circles() == [["engine", "data", "engine"]]


@pytest.mark.parametrize("rest", ["x = 1\n", "def f(): ...\n", "import os\n", "if x:\n    from y import z\n"])
def test_a_file_with_anything_else_is_not_exempt(rest: str, tmp_path: Path) -> None:
    text = '"""Published."""\nfrom basicsr.engine.run import name\n' + rest
    house = make_package(tmp_path, {"engine/run.py": "", "utils/options.py": text})
    assert not house.reexports
    assert house.upward_arrows()
