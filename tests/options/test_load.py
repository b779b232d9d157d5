from __future__ import annotations

import math
from pathlib import Path

import pytest
import yaml

from basicsr.options import load_file, load_text
from basicsr.options.load import load_value
from basicsr.utils.errors import OptionsError


def test_order_and_lines_are_kept() -> None:
    loaded = load_text("b: 1\na:\n  d: [1, 2]\n  c: x\n")
    assert list(loaded.data) == ["b", "a"]
    assert list(loaded.data["a"]) == ["d", "c"]
    assert loaded.places == {"b": "line 1", "a": "line 2", "a.d": "line 3", "a.c": "line 4"}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E+3", 1000.0),
        ("-2.5e-1", -0.25),
        ("!!float 5e3", 5000.0),
        ("!!float 1", 1.0),
        (".5e2", 50.0),
        ("~", None),
        ("", None),
        ("null", None),
        ("yes", True),
        ("2024-01-02", "2024-01-02"),
        ("'5'", "5"),
        ("e5", "e5"),
        ("=", "="),
        ("net_1e4", "net_1e4"),
        ("[1, [2, x]]", [1, [2, "x"]]),
        ("{a: 1e3, b: c}", {"a": 1000.0, "b": "c"}),
    ],
)
def test_values(text: str, value: object) -> None:
    result = load_value(text)
    assert result == value
    assert type(result) is type(value)


def test_infinity_and_nan_are_numbers() -> None:
    assert load_value(".inf") == math.inf
    assert math.isnan(load_value(".nan"))


def test_anchors_and_merges() -> None:
    loaded = load_text("base: &b\n  x: 1\n  y: 2\nuse:\n  <<: *b\n  y: 3\nagain: *b\n")
    assert loaded.problems == []
    assert loaded.data == {"base": {"x": 1, "y": 2}, "use": {"x": 1, "y": 3}, "again": {"x": 1, "y": 2}}


def test_an_aliased_block_with_a_merge_has_no_duplicates() -> None:
    loaded = load_text("a: &a\n  x: 1\nb: &b\n  <<: *a\n  x: 2\nc: *b\n")
    assert loaded.problems == []
    assert loaded.data["c"] == {"x": 2}


def test_duplicate_keys_are_reported_with_both_lines() -> None:
    problems = load_text("train:\n  lr: 1\n  x: 2\n  lr: 3\n").problems
    assert [p.path for p in problems] == ["train.lr"]
    assert "first in line 2 (line 4)" in str(problems[0])


def test_keys_must_be_text() -> None:
    problems = load_text("on: 1\n5: 2\n").problems
    assert [p.path for p in problems] == ["True", "5"]
    assert all("quotes" in p.message for p in problems)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "line 1"),
        ("a: b\n c: d\n", "line 2"),
        ("a: !!python/object/apply:os.system ['true']", "not allowed"),
        ("a: !!binary aGk=", "not allowed"),
        ("a: &x [*x]", "alias"),
        ("a: !!float five", "could not convert"),
        ("a: 1\n---\nb: 2\n", "document"),
        ("a: \x07", "special characters"),
        ("- 1", "block"),
        ("", "block"),
        ("just text", "block"),
    ],
)
def test_what_is_not_an_option_file(text: str, message: str) -> None:
    with pytest.raises(OptionsError, match="(?s)" + message):
        load_text(text)


def test_an_alias_bomb_is_refused_quickly() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 9)]
    with pytest.raises(OptionsError, match="values"):
        load_text("\n".join(lines))


def test_missing_file_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "train_esrgan.yml").write_text("name: x")
    with pytest.raises(OptionsError, match=r"did you mean .*train_esrgan\.yml"):
        load_file(tmp_path / "train_esrgn.yml")
    with pytest.raises(OptionsError, match="no folder"):
        load_file(tmp_path / "nowhere" / "a.yml")
    with pytest.raises(OptionsError, match="cannot read"):
        load_file(tmp_path)


def test_same_data_as_the_plain_safe_loader() -> None:
    for file in sorted((Path(__file__).parents[1] / "golden" / "options").rglob("*.yml")):
        assert load_file(file).data == yaml.safe_load(file.read_text()), file.name
