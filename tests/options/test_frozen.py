from __future__ import annotations

import copy
import io
import json
import pickle
from collections.abc import Callable, Mapping
from typing import Any

import pytest
import torch
import yaml

from basicsr.utils.frozen import FrozenOptions, freeze, thaw

DATA: dict[str, Any] = {"a": 1, "b": {"c": [1, {"d": None}], "e": "x"}, "f": 0.5}


def test_reads_like_a_dict() -> None:
    opt = freeze(DATA)
    assert opt["b"]["c"][1]["d"] is None
    assert opt.get("nothing", 3) == 3
    assert "a" in opt
    assert "z" not in opt["b"]
    assert list(opt) == ["a", "b", "f"]
    assert dict(opt["b"].items())["e"] == "x"
    assert isinstance(opt, Mapping)
    assert isinstance(opt["b"], dict)
    assert opt["b"]["c"][0] == 1
    assert {**opt}["a"] == 1


@pytest.mark.parametrize(
    "write",
    [
        lambda o: o.__setitem__("a", 2),
        lambda o: o["b"].__setitem__("e", 2),
        lambda o: o["b"]["c"][1].update(d=1),
        lambda o: o.pop("a"),
        lambda o: o["b"].pop("type", None),
        lambda o: o.popitem(),
        lambda o: o.setdefault("z", 1),
        lambda o: o.clear(),
        lambda o: o.__delitem__("a"),
        lambda o: o.__ior__({"a": 2}),
        lambda o: o["b"]["c"].__setitem__(0, 2),
    ],
)
def test_refuses_every_write(write: Callable[[Any], object]) -> None:
    opt = freeze(DATA)
    with pytest.raises((TypeError, AttributeError)):
        write(opt)
    assert thaw(opt) == DATA


def test_the_message_says_what_to_do() -> None:
    with pytest.raises(TypeError, match=r"options are read-only; .*opt\.copy\(\)"):
        freeze(DATA)["train"] = {}


def test_freezing_copies() -> None:
    data = copy.deepcopy(DATA)
    opt = freeze(data)
    data["b"]["c"].append(9)
    assert thaw(opt) == DATA


@pytest.mark.parametrize("duplicate", [lambda o: o.copy(), copy.copy, copy.deepcopy, thaw])
def test_copies_are_plain_and_mutable(duplicate: Callable[[Any], dict[str, Any]]) -> None:
    opt = freeze(DATA)
    mutable = duplicate(opt)
    assert type(mutable) is dict
    assert type(mutable["b"]) is dict
    assert type(mutable["b"]["c"]) is list
    mutable["b"]["c"][1]["d"] = 5
    mutable["b"].pop("e")
    assert thaw(opt) == DATA


def test_pickling_keeps_it_read_only() -> None:
    opt = pickle.loads(pickle.dumps(freeze(DATA)))
    assert type(opt["b"]) is FrozenOptions
    assert thaw(opt) == DATA
    with pytest.raises(TypeError):
        opt["b"]["e"] = 1


def test_can_be_written_as_json_and_yaml() -> None:
    opt = freeze(DATA)
    assert json.loads(json.dumps(opt)) == DATA
    assert yaml.safe_load(yaml.safe_dump(opt)) == DATA
    assert yaml.safe_load(yaml.dump(opt)) == DATA


def test_lists_may_go_into_checkpoints() -> None:
    opt = freeze({"betas": [0.9, 0.99]})
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))], betas=opt["betas"])
    file = io.BytesIO()
    torch.save(optimizer.state_dict(), file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["param_groups"][0]["betas"] == (0.9, 0.99)
