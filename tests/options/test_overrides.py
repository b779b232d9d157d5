from __future__ import annotations

from typing import Any

import pytest

from basicsr.options import apply_overrides


def overridden(*overrides: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "name": "x",
        "val": None,
        "train": {"optim_g": {"lr": 1.0}, "milestones": [1, 2], "stages": [{"n": 1}]},
    }
    assert apply_overrides(data, overrides) == []
    return data


@pytest.mark.parametrize(
    ("override", "path", "value"),
    [
        ("train:optim_g:lr=2e-4", ["train", "optim_g", "lr"], 2e-4),
        ("train:optim_g=null", ["train", "optim_g"], None),
        ("train:optim_g=", ["train", "optim_g"], None),
        ("train:optim_g=~", ["train", "optim_g"], None),
        ("train:milestones=[3, 4]", ["train", "milestones"], [3, 4]),
        ("train:milestones:1=9", ["train", "milestones", 1], 9),
        ("train:milestones:2=9", ["train", "milestones"], [1, 2, 9]),
        ("train:stages:0:n=5", ["train", "stages", 0, "n"], 5),
        ("train:stages:1:n=5", ["train", "stages"], [{"n": 1}, {"n": 5}]),
        ("val:metrics:psnr:type=calculate_psnr", ["val", "metrics", "psnr"], {"type": "calculate_psnr"}),
        ("path:root=C:/a=b:c", ["path", "root"], "C:/a=b:c"),
        ("name='5'", ["name"], "5"),
        ('name="a: b"', ["name"], "a: b"),
        ("name=a b", ["name"], "a b"),
        ("name=5", ["name"], 5),
        ("name=True", ["name"], True),
        ("new={type: X, betas: [0.9, 1e-3]}", ["new"], {"type": "X", "betas": [0.9, 1e-3]}),
        ("name==", ["name"], "="),
        ("datasets:val_1:name=a", ["datasets", "val_1", "name"], "a"),
        ("name=__import__('os').getcwd()", ["name"], "__import__('os').getcwd()"),
    ],
)
def test_override(override: str, path: list[Any], value: Any) -> None:
    result: Any = overridden(override)
    for part in path:
        result = result[part]
    assert result == value
    assert type(result) is type(value)


def test_overrides_apply_in_order() -> None:
    assert overridden("a:b=1", "a:c=2", "a:b=3")["a"] == {"b": 3, "c": 2}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train:lr", "expected KEY"),
        ("train.lr=3", "separated by colons: train:lr=3"),
        ("=3", "expected KEY"),
        ("train::lr=3", "expected KEY"),
        ("name:x=3", "not a block"),
        ("train:milestones:x=3", "index from 0 to 2"),
        ("train:milestones:7=3", "index from 0 to 2"),
        ("train:milestones:-1=3", "index from 0 to 2"),
        ("name=[1, 2", "not valid YAML"),
        ("name=!!python/name:os.system x", "not allowed"),
        ("name={a: 1, a: 2}", "twice"),
    ],
)
def test_wrong_overrides_are_named(override: str, message: str) -> None:
    data: dict[str, Any] = {"name": "x", "train": {"milestones": [1, 2]}}
    problems = apply_overrides(data, [override, "added=1"])
    assert [p.path for p in problems] == [f"--force_yml {override}"]
    assert message in problems[0].message
    assert data["added"] == 1
    assert data["name"] == "x"
