"""Registries: names, suffixes, and what happens when another package registers a name again."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from basicsr.utils.errors import UserError
from basicsr.utils.registry import Registry


def make(name: str, module: str) -> type[Any]:
    return type(name, (), {"__module__": module})


def test_names_and_suffixes() -> None:
    registry = Registry("arch")
    net = registry.register(make("Net", "other.archs"))
    assert registry.get("Net") is net
    plain = registry.register(make("Net", "other.archs"), suffix="basicsr")
    assert registry.get("Net_basicsr") is plain
    tools = registry.register(suffix="tools")(make("Tool", "other.archs"))
    assert registry.get("Tool", suffix="tools") is tools and registry.get("Tool_tools") is tools
    only = registry.register(make("Only", "other.archs"), "basicsr")
    assert registry.get("Only") is only


def test_an_unknown_name_is_a_key_error_with_the_nearest_name() -> None:
    registry = Registry("arch")
    registry.register(make("RRDBNet", "basicsr.archs"))
    with pytest.raises(KeyError) as caught:
        registry.get("RRDNet")
    assert str(caught.value) == "unknown arch 'RRDNet'; did you mean RRDBNet?"
    assert isinstance(caught.value, UserError)


@pytest.mark.parametrize("modules", [("basicsr.archs.a", "other.archs"), ("other.archs", "basicsr.archs.a")])
def test_another_package_s_part_takes_our_name_and_both_stay(
    modules: tuple[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    registry = Registry("arch")
    parts = {module: registry.register(make("Net", module)) for module in modules}
    assert registry.get("Net") is parts["other.archs"]
    assert registry.get("Net_basicsr") is parts["basicsr.archs.a"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "other.archs" in caplog.text and "basicsr.archs.a" in caplog.text


def test_two_parts_of_one_package_with_one_name_are_a_mistake() -> None:
    for package in ("basicsr", "other"):
        registry = Registry("arch")
        first = registry.register(make("Net", f"{package}.a"))
        with pytest.raises(KeyError, match="'Net' is already registered by"):
            registry.register(make("Net", f"{package}.b"))
        assert registry.get("Net") is first
        # A module that is loaded again brings the same names.
        again = registry.register(make("Net", f"{package}.a"))
        assert registry.get("Net") is again
