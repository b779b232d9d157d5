"""Options of the commands that score images and measure critics, and the paper's set-ups for public data sets.

Nothing that takes time is imported here: a command line is parsed, and its help shown, without torch.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from basicsr.analysis.arguments import add_runtime_arguments, crop_side, positive_int
from basicsr.spectral import MASK_CONVENTIONS
from basicsr.utils.arguments import file_name
from basicsr.utils.errors import UserError

Protocol = Literal["default", "patchify", "random"]
PROTOCOLS: tuple[Protocol, ...] = ("default", "patchify", "random")


SCORING_CRITICS = {"spatial": ("net_d", "load_name"), "spectral": ("net_spectral_d", "load_name2")}
"""The critics that score, with their weights and the option that names others."""


@dataclass(frozen=True)
class Preset:
    """How one data set is scored.

    Attributes:
        protocol: Of both critics.
        img_size: Height and width of a window; None takes the size of training.
        spatial_window: Attention window of the spatial critic; None keeps that of training.
        spectral_window: Attention window of the spectral critic; None keeps that of training.
        n_ensemble: Random windows per image.
        stride: Step of the ``patchify`` grid.
    """

    protocol: Protocol
    img_size: tuple[int, int] | None = None
    spatial_window: int | None = None
    spectral_window: int | None = None
    n_ensemble: int = 20
    stride: int = 64


PRESETS: Mapping[str, Preset] = {
    "KonIQ-10k": Preset("random", (384, 384), 24, 6, n_ensemble=40),
    "LIVE-itW": Preset("random", (384, 384), 24, 6, n_ensemble=30),
    **dict.fromkeys(("PIPAL", "PIPAL-TradSR", "PIPAL-PsnrSR", "PIPAL-GANbSR"), Preset("patchify", (192, 192))),
}


def _simplify(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


_SET_NAMES = {_simplify(name): name for name in PRESETS} | {"koniq": "KonIQ-10k", "clive": "LIVE-itW"}


def canonical_name(test_set: str) -> str | None:
    """The preset that a test set's name stands for (``CLIVE``, ``koniq``, ``PIPAL_TradSR`` …), or None."""
    return _SET_NAMES.get(_simplify(test_set))


def find_preset(name: str) -> Preset:
    """Looks up a preset.

    Raises:
        UserError: If there is none of that name.
    """
    found = canonical_name(name)
    if found is None:
        raise UserError(f"no preset is called {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[found]


def default_ensemble(test_set: str) -> int:
    """Random windows per image where none are asked for: 40 on KonIQ-10k, as published, else 20."""
    return PRESETS["KonIQ-10k"].n_ensemble if canonical_name(test_set) == "KonIQ-10k" else Preset.n_ensemble


def _add_scoring_arguments(parser: argparse.ArgumentParser, kind: str, batch_size: int) -> None:
    parser.add_argument("--output", metavar="DIR", help=f"default: results/N/{kind}")
    add = parser.add_argument_group("how images are shown to the critics").add_argument
    add("--preset", metavar="SET", help=f"the paper's set-up for a data set: {', '.join(PRESETS)}")
    add("--img_size", type=positive_int, nargs=2, metavar=("H", "W"), help="window; default: size of training")
    for critic in SCORING_CRITICS:
        window_help = f"attention window of the {critic} critic; default: that of training"
        add(f"--{critic}_window_size", type=positive_int, metavar="W", help=window_help)
        add(f"--test_protocol_{critic}", choices=PROTOCOLS, help=f"what the {critic} critic sees")
    ensemble_help = f"random windows per image; default: {Preset.n_ensemble} (KonIQ-10k: 40)"
    add("--n_ensemble", type=positive_int, metavar="N", help=ensemble_help)
    stride_help = f"step of the patchify protocol; default: {Preset.stride}"
    add("--stride", type=positive_int, metavar="PIXELS", help=stride_help)
    normalize_help = "scale spectra patch by patch; otherwise as in training, every window by itself"
    add("--fix_normalize", action="store_true", help=normalize_help)
    add = parser.add_argument_group("critics").add_argument
    add("--opt", metavar="FILE", help="option file; default: the one in the run's folder")
    critics_help = "spatial, spectral or another of the run, such as grad_d; default: the first two, if it has them"
    add("--critics", nargs="+", metavar="CRITIC", help=critics_help)
    for critic, (weights, option) in SCORING_CRITICS.items():
        add(f"--{option}", metavar="NAME", help=f"weights of the {critic} critic; default: {weights}")
    add_runtime_arguments(parser, batch_size=batch_size, batch_help="windows per forward pass")


def add_test_iqa_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`basicsr.analysis.critic_commands.run_score` for a set with opinions, as published."""
    add = parser.add_argument
    add("--experiment_name", required=True, metavar="N", help="run in experiments/, or a path to one")
    add("--test_set", required=True, metavar="DIR", help="folder of images")
    add("--test_set_guider", required=True, metavar="FILE", help="lines of image_name,MOS")
    add("--test_set_name", required=True, type=file_name, metavar="S", help="name of the set; names the result files")
    _add_scoring_arguments(parser, "iqa/S", batch_size=5)
    crop_help = "on LIVE-itW, show the spatial critic random windows whatever --test_protocol_spatial says"
    add("--CLIVE_crop_spatial", action="store_true", help=crop_help)
    parser.set_defaults(kind="iqa", protocol="default", top=None)


def add_score_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`basicsr.analysis.critic_commands.run_score` for any folder."""
    add = parser.add_argument
    add("test_set", metavar="FOLDER", help="images to score")
    run_help, guide_help = "run whose critics judge", "opinions, lines of image_name,MOS; then agreement is reported"
    add("-m", "--experiment", dest="experiment_name", required=True, metavar="experiments/N", help=run_help)
    add("--guide", dest="test_set_guider", metavar="FILE", help=guide_help)
    _add_scoring_arguments(parser, "score/FOLDER", batch_size=16)
    add("--top", type=positive_int, default=8, metavar="N", help="images of each kind on the contact sheet")
    parser.set_defaults(kind="score", protocol="random", test_set_name=None, CLIVE_crop_spatial=False)


def add_robustness_arguments(parser: argparse.ArgumentParser, needs_second: bool = False) -> None:
    """Arguments of :func:`basicsr.analysis.critic_commands.run_robustness`: one critic of a run or two, and any others.

    Args:
        parser: What they are added to.
        needs_second: Require the second critic of the run, as the published script for ensembles does.
    """
    add = parser.add_argument_group("critics").add_argument
    add("--experiment_name", metavar="N", help="run of --net and --net2: in experiments/, or a path")
    add("--net", metavar="LABEL", help="name of the critic in tables and figures")
    add("--load_name", metavar="NAME", help="weights: net_d, net_spectral_d, net_d_5000 …; default: net_d")
    add("--window_size", type=positive_int, metavar="W", help="attention window; default: that of training")
    add("--opt", metavar="FILE", help="option file; default: the one in the run's folder")
    critic_help = "a critic of any run N, with weights NAME (default: net_d); may be given any number of times"
    add("--critic", action="append", default=[], metavar="LABEL=N[:NAME]", help=critic_help)
    add = parser.add_argument_group("images and perturbation").add_argument
    add("--input", metavar="DIR", default="datasets/DIV2K/DIV2K_valid_HR", help="folder of images")
    add("--input_size", type=crop_side, default=192, metavar="S", help="side of the random crops, in pixels")
    add("--divide", type=positive_int, default=20, metavar="K", help="number of bands of equal width")
    add("--noise_std", type=float, default=30.0, metavar="SIGMA", help="of the noise, in grey levels")
    add("--repeat", type=positive_int, default=1, metavar="N", help="random crops per image")
    add("--mask", choices=MASK_CONVENTIONS, default="symmetric", help="symmetric about zero frequency, or as published")
    add = parser.add_argument
    relative_help = "draw curves divided by their geometric means, with the switch-over frequencies r1 and r2"
    add("--relative", action="store_true", help=relative_help)
    add("--no_cache", action="store_true", help="neither use nor keep scores of earlier calls")
    add("--output", metavar="BASE", help="files are BASE.json …; default: robustness/LABELS in the first critic's run")
    add_runtime_arguments(parser, batch_size=20, batch_help="perturbed images per forward pass")
    add = parser.add_argument_group("second critic").add_argument
    add("--net2", required=needs_second, metavar="LABEL", help="name of the second critic")
    add("--load_name2", metavar="NAME", help="weights of the second critic; default: net_spectral_d")
    add("--window_size2", type=positive_int, metavar="W", help="attention window of the second critic")


def add_ensemble_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`basicsr.analysis.critic_commands.run_robustness` that require the second critic."""
    add_robustness_arguments(parser, needs_second=True)
