"""All commands in one table, which ``basicsr``, ``scripts/*.py``, help, completion and ``docs/commands.md`` follow.

A command is one entry of :data:`COMMANDS`. Building parsers imports nothing that takes time; the module that does the
work of a command is imported when the command runs.
"""

from __future__ import annotations

import argparse
import pkgutil
import shutil
import textwrap
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import basicsr
from basicsr.utils.arguments import EXIT_CODES, HelpFormatter, add_import_flag

GROUPS = ("Pictures", "Training", "Weights", "Data", "Analysis", "Help")
"""What ``basicsr -h`` groups commands by."""

FAMILIES = {
    "data": ("Data", "Make, check, pack, fetch and synthesise data sets."),
    "spectrum": ("Analysis", "Analyse models and discriminators in the frequency domain."),
}
"""Commands of two words: the first word, with its group and what the family is for."""


class Command(NamedTuple):
    """One entry of the table.

    Attributes:
        group: One of :data:`GROUPS`.
        summary: What it is for, one sentence.
        arguments: ``module:function`` in :mod:`basicsr` that adds its arguments to a parser. It may set the parser's
            ``description`` to say more than the summary.
        run: ``module:function`` that takes the parsed arguments and returns the exit status.
        example: One command line.
        is_light: Whether it works without PyTorch, and looks after errors itself.
    """

    group: str
    summary: str
    arguments: str
    run: str
    example: str
    is_light: bool = False


COMMANDS: dict[str, Command] = {
    "upscale": Command(
        "Pictures",
        "Enlarge pictures and videos: photographs, drawings, clips, whole folders.",
        "upscaling.command:add_upscale_arguments",
        "upscaling.command:run_upscale",
        "basicsr upscale photo.jpg",
    ),
    "new": Command(
        "Training",
        "Write an option file: for your own photographs, or a copy of a shipped one.",
        "starting.command:add_new_arguments",
        "starting.command:run_new",
        "basicsr new photos --data photos/ --scale 4",
    ),
    "train": Command(
        "Training",
        "Train a model as an option file says.",
        "utils.arguments:add_train_arguments",
        "train:main",
        "basicsr train -opt options/train/quickstart.yml",
    ),
    "test": Command(
        "Training",
        "Evaluate a generator on any number of data sets.",
        "utils.arguments:add_train_arguments",
        "test:main",
        "basicsr test -opt options/test/quickstart.yml",
    ),
    "export": Command(
        "Weights",
        "Write a generator for other programs: its weights, or a program (ONNX, torch.export) that is checked at once.",
        "exporting.commands:add_export_arguments",
        "exporting.commands:run_export",
        "basicsr export experiments/NAME -o generator.onnx",
    ),
    "interpolate": Command(
        "Weights",
        "Write the network between two of one architecture: (1 - A) of the first and A of the second.",
        "exporting.commands:add_interpolate_arguments",
        "exporting.commands:run_interpolate",
        "basicsr interpolate psnr.pth gan.pth --alpha 0.8 -o between.pth",
    ),
    "download": Command(
        "Weights",
        "Fetch published weights by name to where training, testing and upscaling look for them.",
        "exporting.download_command:add_download_arguments",
        "exporting.download_command:run_download",
        "basicsr download RealESRGAN_x4plus vgg19",
    ),
    "card": Command(
        "Weights",
        "Write a run's model card: recipe, data, weights, metrics with intervals, curves, pictures, how to use it.",
        "exporting.card_command:add_card_arguments",
        "exporting.card_command:run_card",
        "basicsr card quickstart -o release --license MIT",
    ),
    "data extract": Command(
        "Data",
        "Cut large images into overlapping sub-images, which load several times faster in training.",
        "preparation.command:add_extract_arguments",
        "preparation.command:run_extract",
        "basicsr data extract --input DIV2K_train_HR --output DIV2K_train_HR_sub --crop_size 480 --step 240",
    ),
    "data meta": Command(
        "Data",
        "Write the text file that lists the images of a data set.",
        "preparation.command:add_meta_arguments",
        "preparation.command:run_meta",
        "basicsr data meta --input datasets/DF2K/HR --root datasets/DF2K --meta_info meta_info.txt",
    ),
    "data lmdb": Command(
        "Data",
        "Pack a folder of images into an LMDB database, for file systems that are slow with small files.",
        "preparation.command:add_lmdb_arguments",
        "preparation.command:run_lmdb",
        "basicsr data lmdb --input DIV2K_train_HR_sub --output DIV2K_train_HR_sub.lmdb",
    ),
    "data check": Command(
        "Data",
        "Check a finished folder: decode every image, compare names, counts and sizes of pairs.",
        "preparation.command:add_check_arguments",
        "preparation.command:run_check",
        "basicsr data check --gt datasets/Set5/HR --lq datasets/Set5/LR --scale 4",
    ),
    "data multiscale": Command(
        "Data",
        "Write smaller copies of training images.",
        "preparation.command:add_multiscale_arguments",
        "preparation.command:run_multiscale",
        "basicsr data multiscale --input datasets/DF2K/DF2K_HR --output datasets/DF2K/DF2K_multiscale",
    ),
    "data download": Command(
        "Data",
        "Fetch and unpack public data sets.",
        "preparation.command:add_download_arguments",
        "preparation.command:run_download",
        "basicsr data download DIV2K Set5 --root datasets",
    ),
    "data photographs": Command(
        "Data",
        "Make the quickstart's data set from the photographs that scikit-image ships.",
        "preparation.command:add_photographs_arguments",
        "preparation.command:run_photographs",
        "basicsr data photographs --root datasets/photographs --scale 4",
    ),
    "data hard-gated": Command(
        "Data",
        "Synthesise a hard-gated test set from a folder of photographs.",
        "preparation.command:add_hard_gated_arguments",
        "preparation.command:run_hard_gated",
        "basicsr data hard-gated --input DIR --hr_folder HR --lr_folder LR --scale 4",
    ),
    "data second-order": Command(
        "Data",
        "Synthesise a second-order test set from a folder of photographs.",
        "preparation.command:add_second_order_arguments",
        "preparation.command:run_second_order",
        "basicsr data second-order --input DIR --hr_folder HR --lr_folder LR --scale 8",
    ),
    "spectrum bands": Command(
        "Analysis",
        "Error of Fourier magnitudes per frequency band, for one model or several.",
        "analysis.spectrum_commands:add_bands_arguments",
        "analysis.spectrum_commands:run_bands",
        "basicsr spectrum bands --gt datasets/Set5/HR --model_path bicubic model.pth",
    ),
    "spectrum statistics": Command(
        "Analysis",
        "Mean and spread of radial power spectra, of images or of a model's outputs.",
        "analysis.spectrum_commands:add_statistics_arguments",
        "analysis.spectrum_commands:run_statistics",
        "basicsr spectrum statistics --input datasets/Set5/HR --experiment_name GT",
    ),
    "spectrum plot": Command(
        "Analysis",
        "Overlay spectral statistics over frequency, with their ratio to the ground truth.",
        "analysis.spectrum_commands:add_plot_arguments",
        "analysis.spectrum_commands:run_plot",
        "basicsr spectrum plot --name teaser --stats GT=experiments/GT/spectrum_stats.pth",
    ),
    "spectrum robustness": Command(
        "Analysis",
        "How a discriminator's score changes when one frequency band is removed or disturbed.",
        "analysis.critic_arguments:add_robustness_arguments",
        "analysis.critic_commands:run_robustness",
        "basicsr spectrum robustness --experiment_name NAME --net D --load_name net_d",
    ),
    "spectrum ensemble": Command(
        "Analysis",
        "The same for two discriminators of one run and their mean.",
        "analysis.critic_arguments:add_ensemble_arguments",
        "analysis.critic_commands:run_robustness",
        "basicsr spectrum ensemble --experiment_name NAME --net D --net2 S",
    ),
    "report": Command(
        "Analysis",
        "Write one page to look at: pictures, numbers and curves of runs.",
        "reporting.command:add_report_arguments",
        "reporting.command:run_report",
        "basicsr report results/a results/b -o both.html",
    ),
    "compare": Command(
        "Analysis",
        "Compare the numbers of runs, with paired bootstrap intervals.",
        "reporting.command:add_compare_arguments",
        "reporting.command:run_compare",
        "basicsr compare results/a results/b --format markdown",
    ),
    "score": Command(
        "Analysis",
        "Score image quality without a reference, by a run's discriminators.",
        "analysis.critic_arguments:add_score_arguments",
        "analysis.critic_commands:run_score",
        "basicsr score photos/ -m experiments/NAME",
    ),
    "iqa": Command(
        "Analysis",
        "Score a test set without references and report agreement with opinions, as published.",
        "analysis.critic_arguments:add_test_iqa_arguments",
        "analysis.critic_commands:run_score",
        "basicsr iqa --experiment_name NAME --test_set photos/ --test_set_guider mos.csv --test_set_name mine",
    ),
    "study": Command(
        "Analysis",
        "Train and measure generators with and without critics of images and of spectra, and report what differs.",
        "analysis.study_command:add_study_arguments",
        "analysis.study_command:run_study",
        "basicsr study all",
    ),
    "doctor": Command(
        "Help",
        "Say what this machine and installation are like, what is wrong with them, and what a training will need.",
        "engine.doctor:add_doctor_arguments",
        "engine.doctor:run_doctor",
        "basicsr doctor -opt options/train/quickstart.yml",
        is_light=True,
    ),
    "completion": Command(
        "Help",
        "Print a script that completes commands, flags and their values in bash or zsh.",
        "completion:add_completion_arguments",
        "completion:run_completion",
        "basicsr completion bash > ~/.local/share/bash-completion/completions/basicsr",
        is_light=True,
    ),
    "options": Command(
        "Help",
        "Describe all options, those of parts of your own too, or print their JSON schema.",
        "utils.arguments:add_options_arguments",
        "options.parse:run_options_command",
        "basicsr options train datasets",
    ),
}
"""What ``basicsr`` can do, by the words of each command.

The help shows them by group, in this order.
"""

RUNS = ("train", "test")
"""Commands that parse their own arguments: they are the same as ``basicsr/train.py`` and ``basicsr/test.py``."""


def build_parser() -> argparse.ArgumentParser:
    """The parser of ``basicsr`` with all sub-commands."""
    parser = argparse.ArgumentParser(
        prog="basicsr", description=_describe_all(), epilog=EXIT_CODES, formatter_class=HelpFormatter
    )
    parser.add_argument("--version", action="version", version=f"basicsr {basicsr.__version__}")
    # The description lists them, by group.
    parser.usage = "basicsr [-h] [--version] COMMAND ..."
    hidden = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", prog="basicsr", help=argparse.SUPPRESS
    )
    places = {"": hidden}
    for name, command in COMMANDS.items():
        family, _, last = name.rpartition(" ")
        if family not in places:
            summary = FAMILIES[family][1]
            group = places[""].add_parser(family, description=summary, formatter_class=HelpFormatter)
            places[family] = group.add_subparsers(dest="subcommand", required=True, metavar="COMMAND")
        build_command_parser(name, partial(places[family].add_parser, last, help=command.summary))
    return parser


def build_command_parser(
    name: str, make_parser: Callable[..., argparse.ArgumentParser] = argparse.ArgumentParser
) -> argparse.ArgumentParser:
    """The parser of one command, for a script; ``make_parser`` makes that of a sub-command instead."""
    command = COMMANDS[name]
    parser = make_parser(description=command.summary, formatter_class=HelpFormatter)
    parser.epilog = f"example:\n  {command.example}"
    pkgutil.resolve_name(f"basicsr.{command.arguments}")(parser)
    if name not in RUNS:
        add_import_flag(parser)
    parser.set_defaults(run=command.run, is_light=command.is_light)
    return parser


def _describe_all() -> str:
    """All commands by group, wrapped to the terminal."""
    listed = [(group, name, summary) for name, (group, summary) in FAMILIES.items()]
    listed += [(command.group, name, command.summary) for name, command in COMMANDS.items() if " " not in name]
    column = max(len(name) for _, name, _ in listed) + 4
    width = max(40, shutil.get_terminal_size().columns - 2)
    lines = ["Super-resolution: upscaling, training, testing and analysis. -h after a command says more."]
    for group in (one for one in GROUPS if any(one == owner for owner, _, _ in listed)):
        lines += ["", f"{group}:"]
        for owner, name, summary in listed:
            if owner == group:
                head = f"  {name}".ljust(column)
                lines.append(textwrap.fill(summary, width, initial_indent=head, subsequent_indent=" " * column))
    return "\n".join(lines)
