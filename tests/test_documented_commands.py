"""Command lines of README and docs: each parses, names files that exist, and is run by a test or says why it is not."""

from __future__ import annotations

import argparse
import re
import runpy
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, NoReturn

import pytest
from tiny_run import PROJECT

from basicsr import cli

PYPROJECT = (PROJECT / "pyproject.toml").read_text(encoding="utf-8")
PAGES = sorted(
    [
        *(PROJECT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
        *(PROJECT / folder / "README.md" for folder in ("datasets", "experiments", "figures")),
        *(PROJECT / "docs").glob("*.md"),
    ]
)
LANGUAGES = {"bash", "console", "python", "yaml", "text", "bibtex"}
"""What a block can be: ``bash`` has commands, ``text`` what they print, ``console`` both, commands behind a ``$``."""

PLACEHOLDERS = {
    "FILE.yml",
    "FOLDER",
    "DIR",
    "photos",
    "photos/",
    "a/images",
    "b/images",
    "holidays",
    "photo.jpg",
    "clip.mp4",
}
MADE_OR_FETCHED = (
    "datasets/",
    "experiments/",
    "results/",
    "tb_logger",
    ".venv",
    "upscaled",
    "large",
    "photos",
    "holidays",
)
"""Where data, weights and results lie, which the repository does not hold."""

WRITTEN = {"report.json", "campaign.json", "own.yml", "koniq/"}
"""Files of examples."""

SHELL = {"cd", "ln", "mkdir", "source", "sbatch", "apt-get", "tensorboard", "mkdocs", "ruff", "mypy"}
"""Programs whose arguments are not looked at."""

SLOW = ("benchmarks/", "docs/", "scripts/default_network/")
"""Programs that load all of the package before they read their arguments."""

RUN = {
    "basicsr upscale": "tests/upscaling/test_command.py",
    "basicsr new": "tests/starting/test_new.py",
    "basicsr train": "tests/test_extension.py",
    "basicsr test": "tests/test_extension.py",
    "basicsr report": "tests/reporting/test_report_page.py",
    "basicsr compare": "tests/reporting/test_compare.py",
    "basicsr score": "tests/analysis/test_scripts_score.py",
    "basicsr export": "tests/exporting/test_weight_commands.py",
    "basicsr interpolate": "tests/exporting/test_weight_commands.py",
    "basicsr download": "tests/exporting/test_download_command.py",
    "basicsr card": "tests/exporting/test_card.py",
    "basicsr options": "tests/test_extension.py",
    "basicsr spectrum": "tests/analysis/test_help.py",
    "basicsr spectrum bands": "tests/analysis/test_scripts_spectrum.py",
    "basicsr spectrum statistics": "tests/analysis/test_scripts_spectrum.py",
    "basicsr spectrum plot": "tests/analysis/test_scripts_spectrum.py",
    "basicsr spectrum ensemble": "tests/analysis/test_scripts_spectrum.py",
    "basicsr spectrum robustness": "tests/analysis/test_scripts_spectrum.py",
    "basicsr iqa": "tests/analysis/test_scripts_score.py",
    "basicsr study": "tests/test_study.py",
    "basicsr data": "tests/preparation/test_preparation.py",
    "basicsr data extract": "tests/preparation/test_preparation.py",
    "basicsr data meta": "tests/preparation/test_preparation.py",
    "basicsr data lmdb": "tests/preparation/test_preparation.py",
    "basicsr data check": "tests/preparation/test_preparation.py",
    "basicsr data multiscale": "tests/preparation/test_preparation.py",
    "basicsr data photographs": "tests/preparation/test_photographs.py",
    "basicsr data hard-gated": "tests/preparation/test_generation.py",
    "basicsr data second-order": "tests/preparation/test_generation.py",
    "basicsr doctor": "tests/engine/test_doctor.py",
    "basicsr completion": "tests/test_completion.py",
    "basicsr -h": "tests/analysis/test_help.py",
    "basicsr --version": "tests/engine/test_commands.py",
    "python basicsr/train.py": ".ci/run",
    "python basicsr/test.py": ".ci/run",
    "bash scripts/test": "tests/analysis/test_scripts_score.py",
    "scripts/dist_train.sh": "tests/engine/test_scripts.py",
    "scripts/dist_train_autoresume.sh": "tests/engine/test_scripts.py",
    "scripts/dist_test.sh": "tests/engine/test_scripts.py",
    "sbatch scripts/slurm_train.sh": "tests/engine/test_scripts.py",
    "python benchmarks": "tests/test_benchmarks.py",
    "python docs/draw_architecture.py": "tests/test_architecture.py",
    "python docs/write_commands.py": "tests/test_command_table.py",
    "python docs/write_weights_table.py": "tests/weights/test_published_weights.py",
    "python scripts/default_network/prepare.py": "tests/weights/test_builtin.py",
    "pytest": ".ci/run",
    "pip install -e": ".ci/run",
    "pip install --no-deps realesrgan==0.3.0": ".ci/run",
    "bash .ci/run": ".ci/run",
    "mkdocs build": ".ci/run",
    "ruff": ".ci/run",
    "mypy": ".ci/run",
    "python -m basicsr": "tests/test_command_table.py",
    "python -m venv": ".ci/run",
}
"""What runs a command in earnest, by the longest beginning that fits; the file has the last word in it."""

NOT_RUN = {
    "basicsr data download": "needs a network; tests/preparation/test_download.py has its parts without",
    "python scripts/default_network/evaluate.py": "needs pictures that are not distributed",
    "python scripts/default_network/figure.py": "needs pictures that are not distributed",
    "python basicsr/train.py -opt options/train/default_": "makes the shipped weights: an hour, and pictures elsewhere",
    "pytest -m recipes": "minutes; by hand",
    "pytest -n 0 -m gpu": "needs a GPU",
    "pip install 'spandrel>=0.4'": "an index; .ci/run installs a fixed version",
    "pip uninstall": "changes the environment",
    "torchrun": "several processes; tests/analysis/test_ranks_share.py starts them by its own launcher",
    "python -c": "one statement; compiled here",
    "tensorboard": "another project's server",
    "mkdocs serve": "a server; .ci/run builds the same site",
    "apt-get": "Debian's packages",
    "cd": "shell",
    "ln": "shell",
    "mkdir": "shell",
    "source": "shell",
}

_PROMPTED = re.compile(r"^\$ (.*(?:\\\n.*)*)", re.M)
_MENTION = re.compile(r"(basicsr(?! COMMAND)|python|pytest|pip|torchrun|bash|mkdocs|scripts/\w+\.sh) ")
_FILE = re.compile(r"(?![-/])[\w.+/-]*/[\w.+/-]*|[\w-]+\.(yml|py|json|md)")


class Command(NamedTuple):
    """A command line of a page; one in running text may leave out arguments."""

    page: str
    words: tuple[str, ...]
    is_mention: bool

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


class Parsed(BaseException):
    """Arguments have been parsed; nothing else is to happen."""


class WrongArguments(BaseException):
    """What a parser says of arguments that it does not take."""


def split_commands(text: str, variables: dict[str, str]) -> Iterator[tuple[str, ...]]:
    """The commands of a shell text, with the variables that it and earlier ones set put in."""
    for line in text.replace("\\\n", " ").splitlines():
        for name, value in variables.items():
            line = line.replace(f"${name}", value)
        lexer = shlex.shlex(line, posix=True, punctuation_chars="&")
        lexer.whitespace_split = True
        words: list[str] = []
        for word in [*lexer, "&&"]:
            if word != "&&":
                words.append(word)
                continue
            while words and (set_ := re.fullmatch(r"([A-Z_]+)=(.*)", words[0])):
                variables[set_[1]] = set_[2]
                words.pop(0)
            if words:
                yield tuple(words[: words.index(">")] if ">" in words else words)
            words = []


def read_page(page: Path) -> tuple[list[Command], set[str]]:
    """Commands of a page's blocks and running text, and the languages of its blocks."""
    name = str(page.relative_to(PROJECT))
    text = page.read_text(encoding="utf-8")
    blocks = re.findall(r"^```(\S*)\n(.*?)^```$", text, re.M | re.S)
    variables = {"PWD": "."}
    commands = [
        Command(name, words, False)
        for kind, body in blocks
        if kind in ("bash", "console")
        for words in split_commands(body if kind == "bash" else "\n".join(_PROMPTED.findall(body)), variables)
    ]
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.M | re.S)
    for code in re.findall(r"`([^`\n]+)`", prose):
        if _MENTION.match(code):
            short = code.replace("…", "").replace("\\|", "|")
            commands += [Command(name, words, True) for words in split_commands(short, variables)]
    return commands, {kind for kind, _ in blocks}


COMMANDS = list({c.words: c for page in PAGES for c in read_page(page)[0]}.values())
"""Each once."""


def longest_beginning(command: Command) -> str | None:
    """The entry of the tables that says who runs a command."""
    line = shlex.join(command.words)
    return max((start for start in {**RUN, **NOT_RUN} if line.startswith(start)), key=len, default=None)


def parse(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Has the command's own parser read its arguments, and stops it there."""
    parse_args = argparse.ArgumentParser.parse_args

    def stop(self: argparse.ArgumentParser, *arguments: object) -> NoReturn:
        parse_args(self, *arguments)
        raise Parsed

    def refuse(self: argparse.ArgumentParser, message: str) -> NoReturn:
        # A mention such as `basicsr export` is no whole command line.
        raise Parsed if command.is_mention and re.search("required|expected one", message) else WrongArguments(message)

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", stop)
    monkeypatch.setattr(argparse.ArgumentParser, "error", refuse)
    monkeypatch.chdir(PROJECT)
    program, *rest = command.words
    monkeypatch.setattr(sys, "argv", rest)  # given back at the end, whatever a command makes of it
    with pytest.raises((Parsed, SystemExit)) as end:  # --help and --version exit
        if program == "basicsr":
            cli.main(rest)
        else:
            monkeypatch.syspath_prepend(Path(rest[0]).parent)
            runpy.run_path(rest[0], run_name="__main__")
    assert end.type is Parsed or end.value.code == 0


def check_flags(script: str, words: list[str]) -> None:
    """Looks for flags in the text of a script that loads too much for its parser to be asked."""
    text = (PROJECT / script).read_text(encoding="utf-8")
    for word in words:
        assert not word.startswith("-") or f'"{word}"' in text, f"{script} has no {word}"


def check_pytest(words: list[str]) -> None:
    markers = set(re.findall(r'^    "(\w+): ', PYPROJECT, re.M))
    if "-m" in words:
        assert set(re.findall(r"\w+", words[words.index("-m") + 1])) - {"or", "not", "and"} <= markers
    for word in words:
        assert not word.startswith("tests/") or (PROJECT / word).exists(), word


def check_extras(words: list[str]) -> None:
    extras = re.findall(r"^(\w+) = \[", PYPROJECT.partition("[project.optional-dependencies]")[2], re.M)
    for word in words[1:]:
        assert words[0] == "uninstall" or not word.startswith("basicsr"), "the index's `basicsr` is another project"
        for extra in re.findall(r"\w+", word[1:]) if word.startswith(".[") else []:
            assert extra in extras, word


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_command_parses(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    program, *rest = command.words
    if program == "torchrun":
        rest = rest[rest.index("-m") + 2 :] if "-m" in rest else []
        command = command._replace(words=("basicsr", *rest))
        if not rest:
            return
        program = "basicsr"
    if program == "python" and rest[0] == "-c":
        compile(rest[1], str(command), "exec")
    elif program == "python" and rest[0] == "-m":
        assert rest[1] in ("venv", "basicsr"), command
    elif program == "python" and rest[0].startswith(SLOW):
        check_flags(rest[0], rest[1:])
    elif program in ("basicsr", "python"):
        parse(command, monkeypatch)
    elif program == "pytest":
        check_pytest(rest)
    elif program == "pip":
        check_extras(rest)
    elif program == "bash" or program.endswith(".sh"):
        assert (PROJECT / (rest[0] if program == "bash" else program)).is_file(), command
    else:
        assert program in SHELL, f"{command}: an unknown program"


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.words[0] not in SHELL - {"sbatch"}], ids=str)
def test_files_that_a_command_names_exist(command: Command) -> None:
    for word in command.words[1:]:
        path = word.rpartition("=")[2].partition(":")[0]
        if not _FILE.fullmatch(path) or path in PLACEHOLDERS or path.startswith(MADE_OR_FETCHED):
            continue
        assert (PROJECT / path).exists() or path in WRITTEN, f"{command}: no {path}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(PROJECT)))
def test_blocks_say_what_they_are(page: Path) -> None:
    assert read_page(page)[1] <= LANGUAGES


def test_every_command_is_run_or_says_why_not() -> None:
    unknown = [str(c) for c in COMMANDS if longest_beginning(c) is None]
    assert not unknown, "add them to RUN or NOT_RUN"
    used = {longest_beginning(command) for command in COMMANDS}
    assert {*RUN, *NOT_RUN} <= used, f"no page has {[*{*RUN, *NOT_RUN} - used]}"


@pytest.mark.parametrize("start", RUN)
def test_the_test_that_runs_a_command_names_it(start: str) -> None:
    text = (PROJECT / RUN[start]).read_text(encoding="utf-8")
    assert Path(start.split()[-1]).stem in text, f"{RUN[start]} has no {start}"


def test_messages_advise_null_which_no_shell_expands() -> None:
    for file in (PROJECT / "basicsr").rglob("*.py"):
        assert not re.search(r"(set \w+ to|or) ~", file.read_text(encoding="utf-8")), file
