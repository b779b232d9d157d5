"""The table of commands: every entry works, explains itself and shows an example that its own parser takes."""

from __future__ import annotations

import argparse
import importlib.util
import pkgutil
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator

import pytest
from tiny_run import PROJECT, environment

import basicsr
from basicsr.commands import COMMANDS, FAMILIES, GROUPS, build_command_parser, build_parser


def walk_parsers(parser: argparse.ArgumentParser) -> Iterator[argparse.ArgumentParser]:
    yield parser
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for inner in action.choices.values():
                yield from walk_parsers(inner)


@pytest.mark.parametrize("name", COMMANDS)
def test_an_entry_names_what_there_is(name: str) -> None:
    command = COMMANDS[name]
    assert command.group in GROUPS and command.summary.endswith(".")
    assert callable(pkgutil.resolve_name(f"basicsr.{command.run}"))
    family, _, _ = name.rpartition(" ")
    assert not family or FAMILIES[family][0] == command.group


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_s_parser_takes_its_example(name: str) -> None:
    words = shlex.split(COMMANDS[name].example)
    assert words[: 1 + len(name.split())] == ["basicsr", *name.split()]
    assert build_parser().parse_args(words[1:]).run == COMMANDS[name].run


@pytest.mark.parametrize("name", COMMANDS)
def test_help_explains_every_argument_and_shows_the_example(name: str) -> None:
    parser = build_command_parser(name)
    assert [action.dest for action in parser._actions if not action.help] == []
    assert COMMANDS[name].example in parser.format_help()


def test_help_is_wrapped_to_the_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    long = [
        line
        for parser in walk_parsers(build_parser())
        for line in parser.format_help().splitlines()
        if len(line) > 60 and not re.match(r" +(basicsr |\S+$|\[)", line)
    ]
    assert long == []


def test_all_commands_are_listed_by_group() -> None:
    text = build_parser().format_help()
    shown = re.findall(r"^(\w+):$|^  ([a-z]+) +[A-Z]", text, re.MULTILINE)
    groups = [group for group, _ in shown if group]
    assert groups[: len(set(GROUPS) & set(groups))] == [group for group in GROUPS if group in groups]
    assert {command for _, command in shown if command} == {name.split()[0] for name in COMMANDS}


def test_the_page_of_commands_is_that_of_the_table() -> None:
    spec = importlib.util.spec_from_file_location("write_commands", PROJECT / "docs/write_commands.py")
    assert spec and spec.loader
    writer = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(writer)
    page = writer.PAGE.read_text(encoding="utf-8")
    assert writer.renew(page) == page, "run python docs/write_commands.py"


def test_python_m_basicsr_is_the_command() -> None:
    command = [sys.executable, "-m", "basicsr", "--version"]
    shown = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert shown.stdout == f"basicsr {basicsr.__version__}\n"
