"""The house's rules: imports run down its rooms, and no room outgrows the others; see ``docs/architecture.md``."""

from __future__ import annotations

import ast
import importlib.util
import re
import sys
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from tiny_run import PROJECT

PUBLISHED_PATHS = {
    "basicsr.data.degradations",
    "basicsr.models.esrgan_model",
    "basicsr.models.realesrgan_model",
    "basicsr.models.swinir_model",
    "basicsr.models.realesrnet_model",
    "basicsr.models.srgan_model",
    "basicsr.utils.color_util",
    "basicsr.utils.diffjpeg",
    "basicsr.utils.img_process_util",
    "basicsr.utils.matlab_functions",
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


PAGES = sorted([PROJECT / "README.md", *(PROJECT / "docs").glob("*.md")])
_FILE = re.compile(r"`(?:basicsr/)?([a-z_]+/[a-z_/0-9]+\.py)`|\]\((?:\.\./)?(basicsr/[a-z_/0-9]+\.py)\)")
_MODULE = re.compile(r"\bbasicsr(?:\.[a-z_]+)+")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_and_modules_that_a_page_names_exist(page: Path, house: scanner.House) -> None:
    text = page.read_text(encoding="utf-8")
    for match in _FILE.finditer(text):
        name = match[1] or match[2]
        assert (PROJECT / name).exists() or (PROJECT / "basicsr" / name).exists(), f"{page.name}: no file {name}"
    for name in _MODULE.findall(text):
        module, _, attribute = name.rpartition(".")
        is_attribute = module in house.files and re.search(rf"\b{attribute}\b", house.files[module].read_text())
        assert name in house.files or is_attribute, f"{page.name}: no {name}"


def test_the_page_s_rooms_are_the_house_s() -> None:
    text = (PROJECT / "docs/architecture.md").read_text(encoding="utf-8")
    table = text.partition("| room |")[2].partition("\n\n")[0]
    assert tuple(re.findall(r"^\| `([a-z]+)` \|", table, re.M)) == scanner.ROOMS[1:]


def test_functions_and_classes_that_the_page_names_are_in_the_code(house: scanner.House) -> None:
    defined: set[str] = set()
    for file in house.files.values():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                defined.add(node.name)
            if isinstance(node, ast.ClassDef):
                defined |= {f"{node.name}.{item.name}" for item in node.body if isinstance(item, ast.FunctionDef)}
    text = (PROJECT / "docs/architecture.md").read_text(encoding="utf-8")
    walks = text.partition("## Four walks")[2].partition("## Adding a part")[0]
    methods = re.findall(r"`((?:[A-Z]\w+)(?:\.\w+)?)`|`([a-z]+(?:_[a-z]+)+)`", walks)
    named = {one or other for one, other in methods}
    assert len(named) > 40
    assert not named - defined


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


def test_files_of_tests_have_names_of_their_own() -> None:
    """Without packages, pytest tells modules apart by their name alone."""
    names = Counter(path.name for path in Path(__file__).parent.rglob("*.py") if path.name != "conftest.py")
    assert [name for name, count in names.items() if count > 1] == []
