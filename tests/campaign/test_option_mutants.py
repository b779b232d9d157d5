"""Changed option files run as they say or are refused in words: drawn changes of shipped and small files."""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from campaign_plan import Plan, Tally
from forks import Case, run_cases
from test_every_recipe import ROOT, materials, shrink
from tiny_run import write_options

from basicsr import test, train
from basicsr.archs import build_network
from basicsr.options.load import apply_overrides, load_file

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(0)]
__all__ = ["materials"]

WHOLE = 1000
SHIPPED = ("quickstart", "train_three_critics_x4", "train_esrgan_x4_hgd_dual_former", "train_spsr_x4")
VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2, 3, 7, 64, 2**31, 2**63, 10**400, 0.5, -0.5, 1e-9, 1e9, 1e30),
    *(float("nan"), float("inf"), "", "text", "1e-4", "../x", "/", "~", "\0", "é" * 300),
    *([], [1], [1, 2, 3], [[]], {}, {"type": "Nope"}, {"type": None}, {1: 2}),
)


def list_paths(values: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every key and list entry of an option file, as the steps that lead there."""
    entries = values.items() if isinstance(values, dict) else enumerate(values) if isinstance(values, list) else ()
    return [found for key, value in entries for found in ((*path, key), *list_paths(value, (*path, key)))]


def nudge(value: Any, generator: np.random.Generator) -> Any:
    """A value of the same kind that somebody might have meant: most of these are valid."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, (int, float)):
        return [value + 1, value * 2, value // 2 if isinstance(value, int) else value / 2, -value][
            generator.integers(4)
        ]
    if isinstance(value, list) and value:
        return [*value[1:], value[0]] if generator.integers(2) else value[1:]
    return value.upper() if isinstance(value, str) else value


def mutate(options: dict[str, Any], generator: np.random.Generator) -> str:
    """Makes one to three changes; returns what was changed."""
    notes = []
    for _ in range(1 + int(generator.integers(3) == 0) + int(generator.integers(6) == 0)):
        paths = list_paths(options)
        path = paths[generator.integers(len(paths))]
        place = options
        for step in path[:-1]:
            place = place[step]
        key, kind = (
            path[-1],
            generator.choice(["value", "value", "nudge", "nudge", "nudge", "drop", "rename", "swap", "add", "list"]),
        )
        if kind == "drop":
            del place[key]
        elif kind == "rename" and isinstance(place, dict):
            text = str(key)
            place[text[:1] + text[2:] + "x" * (len(text) < 3)] = place.pop(key)
        elif kind == "add" and isinstance(place, dict):
            place[f"{key}_too"] = copy.deepcopy(place[key])
        elif kind == "list":
            place[key] = [place[key], copy.deepcopy(place[key])]
        elif kind == "nudge":
            place[key] = nudge(place[key], generator)
        else:
            other = paths[generator.integers(len(paths))]
            value: Any = options
            for step in other:
                value = value[step]
            is_swap = kind == "swap" and path[: len(other)] != other
            place[key] = copy.deepcopy(value if is_swap else VALUES[generator.integers(len(VALUES))])
        notes.append(
            f"{kind} {':'.join(map(str, path))} -> {str(place.get(key) if isinstance(place, dict) else '')[:40]}"
        )
    return "; ".join(notes)


def train_two(file: Path, *flags: str) -> int:
    """``--check``, and two iterations where it finds nothing."""
    code = train.main(["-opt", str(file), "--check", *flags], Path.cwd())
    if code == 0:
        # Overrides that a change has made impossible are refused in words, too.
        code = train.main(
            ["-opt", str(file), *flags, "--force_yml", "train:total_iter=2", "val:val_freq=2"], Path.cwd()
        )
        if code == 2:
            sys.stdout.write("refused after a check that found nothing\n")
    return code


@pytest.fixture(scope="session")
def bases(
    materials: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> list[tuple[str, dict[str, Any], Callable[[Path], int]]]:
    """Option files by name, as values, with the command that each is for."""
    from gated_run import prepare

    root = tmp_path_factory.mktemp("bases")
    found: list[tuple[str, dict[str, Any], Callable[[Path], int]]] = []
    for name, write in (("gan", write_options), ("gated", prepare)):
        (root / name).mkdir()
        found.append((name, yaml.safe_load(write(root / name).read_text()), train_two))
    for name in SHIPPED:
        file = ROOT / f"options/train/{name}.yml"
        loaded = load_file(file)
        assert not apply_overrides(loaded, shrink(file, materials, 2))
        found.append((name, loaded.data, train_two))
    tested = copy.deepcopy(found[0][1])
    for key in ("train", "network_d", "logger"):
        tested.pop(key)
    weights = root / "net_g.pth"
    torch.save({"params": build_network(dict(tested["network_g"])).state_dict()}, weights)
    tested["path"] = {"pretrain_network_g": str(weights)}
    tested |= {"name": "tested", "model_type": "SRModel", "datasets": {"test_1": tested["datasets"]["val"]}}
    found.append(("test", tested, lambda file: test.main(["-opt", str(file)], Path.cwd())))
    return found


def test_mutants_of_option_files_run_or_are_refused_in_words(
    bases: list[tuple[str, dict[str, Any], Callable[[Path], int]]],
    plan: Plan,
    tally: Callable[[str], Tally],
    tmp_path: Path,
) -> None:
    counts, cases = tally("changed option files"), []
    for index, generator in enumerate(plan.draw("mutants", WHOLE)):
        name, values, command = bases[index % len(bases)]
        changed = copy.deepcopy(values)
        notes = mutate(changed, generator)
        file = tmp_path / f"{index}.yml"
        file.write_text(yaml.safe_dump(changed, sort_keys=False, allow_unicode=True))
        cases.append(Case(f"seed {plan.seed}, {index} ({name}: {notes})", lambda file=file, run=command: run(file)))
    for end in run_cases(cases, tmp_path / "runs", timeout=180):
        if end.fault:
            counts.lose(end.case.label, end.fault)
        else:
            counts.add("named" if end.code else "right")
    counts.demand_none_lost()
