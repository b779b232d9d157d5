"""``basicsr completion``: completes commands, flags and their values in bash and zsh.

The printed script asks ``basicsr completion words`` at each key, which walks the same parsers as the command itself.
Names of published weights stand in the script, as it would take seconds to load what knows them.
"""

from __future__ import annotations

import argparse
import glob
import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

WEIGHTS = "BASICSR_WEIGHTS_NAMES"
"""Environment variable through which the script hands over the names that stand in it."""

SCRIPTS = {
    "bash": """_basicsr() {{
    local word names
    names={names!r}
    COMPREPLY=()
    while IFS= read -r word; do COMPREPLY+=("$word"); done < <(
        {variable}="$names" basicsr completion words -- "${{COMP_WORDS[@]:1:COMP_CWORD}}" 2>/dev/null
    )
    if [[ ${{#COMPREPLY[@]}} -eq 1 && ${{COMPREPLY[0]}} == */ ]]; then compopt -o nospace 2>/dev/null; fi
}}
complete -o default -F _basicsr basicsr
""",
    "zsh": """#compdef basicsr
_basicsr() {{
    local -a found
    local names={names!r}
    found=("${{(@f)$({variable}=$names basicsr completion words -- "${{(@)words[2,CURRENT]}}" 2>/dev/null)}}")
    found=(${{found:#}})
    if (( $#found )); then
        compadd -S '' -- ${{(M)found:#*/}}
        compadd -- ${{found:#*/}}
    else
        _files
    fi
}}
(( $+functions[compdef] )) || {{ autoload -Uz compinit && compinit; }}
compdef _basicsr basicsr
""",
}

_OPTION_FILES = ("opt", "dataset_opt")


def add_completion_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_completion`."""
    parser.description = """Print a script that completes commands, flags, choices, option files, runs and names of
weights. bash: write it to ~/.local/share/bash-completion/completions/basicsr; zsh: to a file _basicsr in a folder of
$fpath. Or load it at once: source <(basicsr completion bash)."""
    parser.add_argument("shell", choices=(*SCRIPTS, "words"), help="bash or zsh; words is what the scripts ask")
    parser.add_argument("words", nargs="*", metavar="WORD", help="a command line, the last word unfinished")


def run_completion(args: argparse.Namespace) -> int:
    """Prints a script, or what could stand in place of the last word; returns the exit status."""
    if args.shell == "words":
        sys.stdout.writelines(f"{word}\n" for word in complete(args.words))
    else:
        from basicsr.weights.builtin import BUILTIN
        from basicsr.weights.published import PUBLISHED

        names = " ".join([*BUILTIN, *PUBLISHED])
        sys.stdout.write(SCRIPTS[args.shell].format(names=names, variable=WEIGHTS))
    return 0


def complete(words: Sequence[str]) -> list[str]:
    """What could stand in place of the last word; nothing where any file could.

    Args:
        words: A command line after ``basicsr``, the last word unfinished or empty.
    """
    from basicsr.commands import build_parser

    *given, current = words or [""]
    parser, positionals = build_parser(), 0
    waiting: argparse.Action | None = None
    taken = 0
    for word in given:
        flags, places = parser._option_string_actions, _list_positionals(parser)
        if word in flags:
            waiting, taken = (flags[word], 0) if flags[word].nargs != 0 else (None, 0)
        elif waiting is not None:
            taken += 1
            waiting = waiting if waiting.nargs in ("+", "*") or taken < _number(waiting) else None
        elif positionals < len(places) and isinstance(places[positionals], argparse._SubParsersAction):
            chosen = places[positionals].choices or {}
            if word not in chosen:
                return []
            parser, positionals, waiting = dict(chosen)[word], 0, None
        else:
            is_open = positionals < len(places) and places[positionals].nargs in ("+", "*")
            positionals += 0 if is_open else 1
    if current.startswith("-"):
        return sorted(flag for flag in parser._option_string_actions if flag.startswith(current))
    if waiting is None:
        places = _list_positionals(parser)
        waiting = places[positionals] if positionals < len(places) else None
    return [] if waiting is None else sorted(set(_list_values(waiting, current)))


def _list_positionals(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """The positional arguments, one that takes several words as often."""
    return [action for action in parser._actions if not action.option_strings for _ in range(_number(action))]


def _number(action: argparse.Action) -> int:
    return action.nargs if isinstance(action.nargs, int) else 1


def _list_values(action: argparse.Action, start: str) -> Iterator[str]:
    if action.choices is not None:
        yield from (str(choice) for choice in action.choices if str(choice).startswith(start))
    elif action.dest in _OPTION_FILES:
        yield from _list_files(start, (".yml", ".yaml"))
    elif action.metavar in ("MODEL", "RUN") or action.dest == "experiment_name":
        names = [path.name for path in Path("experiments").glob("*/") if path.is_dir()]
        if action.metavar == "MODEL":
            names += os.environ.get(WEIGHTS, "").split()
        yield from (name for name in names if name.startswith(start))
        yield from _list_files(start, (".pth", ".safetensors") if action.metavar == "MODEL" else ())


def _list_files(start: str, endings: tuple[str, ...]) -> Iterator[str]:
    """Files of these endings, and folders with a slash."""
    for found in glob.glob(f"{glob.escape(os.path.expanduser(start))}*"):
        if os.path.isdir(found):
            yield f"{found}/"
        elif found.endswith(endings):
            yield found
