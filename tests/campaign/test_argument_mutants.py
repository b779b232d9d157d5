"""Commands whose arguments are changed do as they are told or refuse in words: scoring, analysis, data preparation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from campaign_plan import Plan, Tally
from critic_runs import QUIET, save_experiment
from forks import Case, run_cases
from odd_files import PHOTOGRAPH
from PIL import Image
from test_odd_files import run_script

from basicsr import cli
from basicsr.archs.srresnet_arch import MSRResNet

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(0)]

WHOLE = 200
VALUES = (
    *("0", "1", "-1", "2", "3", "7", "0.5", "-0.5", "1e-9", "1e9", "1e30", str(2**31), str(2**63), str(10**30)),
    *(
        "nan",
        "inf",
        "",
        " ",
        "text",
        "../x",
        "/",
        "/proc/x",
        ".",
        "~",
        "é" * 300,
        "pictures",
        "none.png",
        "a=b",
        "=",
        "1,2",
    ),
)
OUT = ("--formats", "png", *QUIET)
CRITICS = ("--experiment_name", "experiments/dual")


def as_command(*head: str) -> Callable[[list[str]], int]:
    return lambda arguments: cli.main([*head, *arguments])


def as_script(name: str) -> Callable[[list[str]], int]:
    return lambda arguments: run_script(name, *arguments)


COMMANDS: tuple[tuple[str, Callable[[list[str]], int], tuple[str, ...]], ...] = (
    (
        "score",
        as_command("score"),
        (
            "pictures",
            "-m",
            "experiments/dual",
            "--n_ensemble",
            "2",
            "--img_size",
            "64",
            "64",
            "--batch_size",
            "2",
            *OUT,
        ),
    ),
    (
        "test_iqa",
        as_script("test_iqa.py"),
        (*CRITICS, "--test_set", "pictures", "--test_set_guider", "guide.csv", "--n_ensemble", "2", "--batch_size", "2")
        + ("--test_set_name", "S", "--img_size", "96", "96", *OUT),
    ),
    (
        "bands",
        as_command("spectrum", "bands"),
        ("--gt", "pictures", "--scale", "4", "--model_path", "bicubic", "--r_1", "0.3", "--r_2", "0.6")
        + ("--output", "out", *OUT),
    ),
    (
        "statistics",
        as_command("spectrum", "statistics"),
        ("--input", "pictures", "--experiment_name", "s", "--patch_size", "32", "--label", "L")
        + ("--mode", "0", "--model_path", "net_g.pth", "--scale", "4", *OUT),
    ),
    (
        "robustness",
        as_command("spectrum", "robustness"),
        (*CRITICS, "--net", "S", "--input", "pictures", "--input_size", "32", "--divide", "4", "--noise_std", "30")
        + ("--batch_size", "20", "--window_size", "4", "--output", "out", *OUT),
    ),
    ("export", as_command("export"), ("net_g.pth", "-o", "out.safetensors", "--param_key", "params")),
    ("interpolate", as_command("interpolate"), ("net_g.pth", "net_g.pth", "-a", "0.5", "-o", "out.pth")),
    (
        "check_dataset",
        as_script("data_preparation/check_dataset.py"),
        ("--gt", "pictures", "--lq", "pictures", "--scale", "1", "--filename_tmpl", "{}", "--min_size", "8")
        + ("--n_thread", "2", "--report", "out.json"),
    ),
    (
        "create_lmdb",
        as_script("data_preparation/create_lmdb.py"),
        ("--input", "pictures", "--output", "out.lmdb", "--compress_level", "1", "--n_thread", "2"),
    ),
    (
        "extract_subimages",
        as_script("data_preparation/extract_subimages.py"),
        ("--input", "pictures", "--output", "subs", "--crop_size", "32", "--step", "32", "--thresh_size", "8")
        + ("--n_thread", "2", "--compression_level", "3"),
    ),
    (
        "generate_meta_info",
        as_script("data_preparation/generate_meta_info.py"),
        ("--input", "pictures", "--lq", "pictures", "--root", ".", "--meta_info", "out.txt", "--filename_tmpl", "{}")
        + ("--n_thread", "2"),
    ),
    (
        "generate_multiscale_DF2K",
        as_script("data_preparation/generate_multiscale_DF2K.py"),
        ("--input", "pictures", "--output", "scales", "--scales", "0.75", "0.5", "--shortest_edge", "24")
        + ("--n_thread", "2"),
    ),
    (
        "generate_hgd_dataset",
        as_script("generate_hgd_dataset.py"),
        ("--input", "pictures", "--hr_folder", "hr", "--lr_folder", "lr", "--scale", "4", "--seed", "1")
        + ("--num_workers", "0", "--shard", "0/1"),
    ),
)


def prepare_files() -> None:
    """Pictures, opinions of them, critics and a generator, in the working directory."""
    Path("pictures").mkdir()
    for index in range(3):
        Image.fromarray(PHOTOGRAPH).rotate(90 * index).save(f"pictures/{index}.png")
    Path("guide.csv").write_text("image_name,MOS\n" + "".join(f"{index}.png,{index}\n" for index in range(3)))
    save_experiment(Path("experiments/dual"))
    torch.save({"params": MSRResNet(3, 3, 4, 1, 4).state_dict()}, "net_g.pth")


def change(arguments: tuple[str, ...], generator: np.random.Generator) -> list[str]:
    """One or two arguments dropped, doubled, exchanged, or of other values; flags that keep the cost low stay."""
    changed = list(arguments)
    for _ in range(1 + int(generator.integers(3) == 0)):
        places = [index for index, text in enumerate(changed) if text not in OUT and not text.startswith("-")]
        place = places[generator.integers(len(places))]
        kind = generator.choice(["value", "value", "value", "drop", "double", "swap"])
        if kind == "value":
            changed[place] = VALUES[generator.integers(len(VALUES))]
        elif kind == "drop":
            del changed[place - (changed[place - 1].startswith("-") if place else 0) : place + 1]
        elif kind == "double":
            changed.insert(place, changed[place])
        else:
            other = places[generator.integers(len(places))]
            changed[place], changed[other] = changed[other], changed[place]
        if not [text for text in changed if text not in OUT and not text.startswith("-")]:
            break
    return changed


def run(command: Callable[[list[str]], int], arguments: list[str]) -> int:
    prepare_files()
    return command(arguments)


def test_changed_arguments_are_obeyed_or_refused_in_words(
    plan: Plan, tally: Callable[[str], Tally], tmp_path: Path
) -> None:
    counts, cases = tally("changed arguments of commands"), []
    for index, generator in enumerate(plan.draw("arguments", WHOLE)):
        name, command, arguments = COMMANDS[index % len(COMMANDS)]
        changed = change(arguments, generator)
        label = f"seed {plan.seed}, {index} ({name} {' '.join(map(repr, changed))[:300]})"
        cases.append(Case(label, lambda command=command, changed=changed: run(command, changed)))
    for end in run_cases(cases, tmp_path / "runs", timeout=300):
        if end.fault:
            counts.lose(end.case.label, end.fault)
        else:
            counts.add("named" if end.code else "right")
    counts.demand_none_lost()
