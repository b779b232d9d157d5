"""The runs of the study: which there are, how each differs from ``study.yml``, and training them side by side."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Any

import yaml
from tqdm import tqdm

from basicsr.options.load import load_file
from basicsr.utils.atomic import atomic_write_text
from basicsr.utils.errors import TrainingError, UserError

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BASE_FILE = HERE / "study.yml"

START = "start"
"""The generator that every other run of a seed starts from."""

QUALITY = "quality"
"""Wasserstein critics on simple-gated degradations: those that are meant to score quality."""

CONDITIONS: dict[str, str] = {
    "none": "no critic",
    "spatial": "D only",
    "spectral": "S only",
    "both": "D and S",
    "both_log": "D and S, S in decibels",
}
"""What is compared, by run name."""


@dataclass(frozen=True)
class Size:
    """How large a study is.

    Attributes:
        iterations: Iterations of the start, of each condition, and of the quality critics.
        changes: What differs from ``study.yml``, as a nested mapping.
        threads: CPU threads of each run; 0 leaves that to PyTorch.
    """

    iterations: tuple[int, int, int]
    changes: Mapping[str, Any] = field(default_factory=dict)
    threads: int = 1


_LARGE_CRITIC = {"img_size": 128, "patch_size": 32, "embed_dim": 96, "depths": [8, 2], "num_heads": [3, 6]}
SIZES = {
    # Two CPU cores.
    "small": Size((800, 800, 400)),
    # One GPU: the recipes' critics and crops, a third of their generator's depth, the same seven photographs.
    "large": Size(
        (5000, 5000, 2500),
        {
            "num_gpu": 1,
            "network_g": {"num_feat": 64, "num_block": 8, "num_grow_ch": 32},
            "network_d": {**_LARGE_CRITIC, "mlp_ratio": 4},
            "net_spectral_d": {**_LARGE_CRITIC, "mlp_ratio": 4},
            "datasets": {
                "train": {
                    "gt_size": 128,
                    "batch_size_per_gpu": 16,
                    "dataset_enlarge_ratio": 200,
                    "num_worker_per_gpu": 6,
                }
            },
            "train": {"ema_decay": 0.999, "scheduler": {"milestones": [2500, 3750]}},
            "logger": {"print_freq": 1000, "save_checkpoint_freq": 2000},
        },
        threads=0,
    ),
    # Seconds; its numbers mean nothing. For trying out the scripts.
    "tiny": Size(
        (2, 2, 2),
        {
            "network_g": {"num_feat": 8, "num_grow_ch": 4},
            "network_d": {"embed_dim": 12},
            "net_spectral_d": {"embed_dim": 12},
            "datasets": {"train": {"batch_size_per_gpu": 2}},
        },
    ),
}


@dataclass(frozen=True)
class Run:
    """One training.

    Attributes:
        condition: A key of :data:`CONDITIONS`, or :data:`START` or :data:`QUALITY`.
        seed: Its ``manual_seed``.
    """

    condition: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.condition}_seed{self.seed}"


def all_runs(seeds: Sequence[int]) -> list[Run]:
    """Every run, starts first."""
    conditions = (START, *CONDITIONS, QUALITY)
    return [Run(condition, seed) for condition in conditions for seed in seeds]


def study_folder(size: str, root: Path | None = None) -> Path:
    """The parent folder of a study's runs.

    Raises:
        UserError: If there is no such size.
    """
    if size not in SIZES:
        raise UserError(f"--size must be one of {', '.join(SIZES)}; got {size!r}")
    return (root or ROOT / "experiments") / f"study_{size}"


def compose_options(run: Run, size: str, folder: Path) -> dict[str, Any]:
    """The options of one run: ``study.yml``, the size's changes, the condition's changes."""
    scale = SIZES[size]
    options = _merge(load_file(BASE_FILE).data, scale.changes)
    start, main, quality = scale.iterations
    options["name"] = run.name
    options["manual_seed"] = run.seed
    options["path"]["experiments_root"] = str(folder)
    options["train"]["total_iter"] = start if run.condition == START else main
    if run.condition != START:
        options["path"]["pretrain_network_g"] = str(folder / Run(START, run.seed).name / "models/net_g_latest.pth")
    if run.condition in (START, "none"):
        _remove_critics(options, "d", "spectral_d")
        options["model_type"] = "SRModel"
        del options["train"]["gan_opt"]
    elif run.condition == "spatial":
        _remove_critics(options, "spectral_d")
        options["model_type"] = "ESRGANModel"
    elif run.condition == "spectral":
        # The model with one critic, which here is the spectral one.
        options["network_d"] = options["net_spectral_d"]
        _remove_critics(options, "spectral_d")
        options["model_type"] = "ESRGANModel"
    elif run.condition == "both_log":
        options["net_spectral_d"]["scale"] = "log"
    elif run.condition == QUALITY:
        _make_quality_run(options, quality)
    if run.condition == START:
        # A start from nothing bears, and in so short a time needs, a higher rate.
        options["train"]["optim_g"]["lr"] = 2e-3
    return options


def _merge(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        inner = merged.get(key)
        merged[key] = _merge(inner, value) if isinstance(inner, Mapping) and isinstance(value, Mapping) else value
    return {key: _merge(value, {}) if isinstance(value, Mapping) else value for key, value in merged.items()}


def _remove_critics(options: dict[str, Any], *critics: str) -> None:
    for critic in critics:
        del options["network_d" if critic == "d" else f"net_{critic}"]
        del options["train"][f"optim_{critic}"]


_PAIRED_KEYS = ("name", "type", "prepare", "dataroot_gt", "dataroot_lq")


def _make_quality_run(options: dict[str, Any], iterations: int) -> None:
    """The recipe ``train_esrgan_x4_sgd_dual_former`` around the study's networks."""
    train = options["datasets"]["train"]
    batch = int(train["batch_size_per_gpu"])
    options |= {
        "model_type": "ESRGANSimpleGatedDegradationWSpecModel",
        "noise_range": [1, 30],
        "gray_noise_prob": 0.4,
        "jpeg_range": [40, 95],
        "gt_size": train["gt_size"],
        "queue_size": 8 * batch,
    }
    options["datasets"]["train"] = {
        "name": "Photographs",
        "type": "GatedDegradationDataset",
        "dataroot_gt": train["dataroot_gt"],  # made with those of the validation set
        "io_backend": {"type": "disk"},
        "crop_pad_size": 192,
        "blur_kernel_size": 21,
        "kernel_list": ["iso"],
        "kernel_prob": [1],
        "sinc_prob": 0,
        "blur_sigma": [0.1, 3],
        **{key: value for key, value in train.items() if key not in _PAIRED_KEYS},
    }
    options["train"] |= {"total_iter": iterations, "gan_opt": {**options["train"]["gan_opt"], "gan_type": "wgan"}}


def is_finished(run: Run, folder: Path) -> bool:
    """Whether a run has come to its end: the summary is the last file that it writes."""
    return (folder / run.name / "summary.json").is_file()


def write_options(run: Run, size: str, folder: Path) -> Path:
    """Writes a run's option file to ``<folder>/options/``.

    Raises:
        UserError: If the run has been started with other options than this study has now.
    """
    text = yaml.safe_dump(compose_options(run, size, folder), sort_keys=False)
    path = folder / "options" / f"{run.name}.yml"
    if path.is_file() and path.read_text(encoding="utf-8") != text and (folder / run.name).exists():
        raise UserError(f"{run.name} was trained with other options than now; move {folder} away and start again")
    atomic_write_text(text, path)
    return path


def train_all(seeds: Sequence[int], size: str, jobs: int, root: Path | None = None) -> None:
    """Trains what is not finished, ``jobs`` runs at a time; unfinished runs go on from their last checkpoint.

    Raises:
        TrainingError: If a run fails; its output is in ``<folder>/<run>.out``.
    """
    folder = study_folder(size, root)
    folder.mkdir(parents=True, exist_ok=True)
    runs = [run for run in all_runs(seeds) if not is_finished(run, folder)]
    starts = [run for run in runs if run.condition == START]
    others = [run for run in runs if run.condition != START]
    stop = Event()
    began = time.monotonic()
    with tqdm(total=len(runs), unit="run", desc=f"study, {size}", disable=not runs) as bar:
        for stage in (starts, others):
            with ThreadPoolExecutor(jobs) as pool:
                try:
                    for name in pool.map(lambda run: _train(run, size, folder, stop), stage):
                        bar.update()
                        bar.set_postfix_str(name)
                except BaseException:
                    stop.set()
                    raise
    if runs:
        _note_duration(folder, len(runs), time.monotonic() - began)


def _train(run: Run, size: str, folder: Path, stop: Event) -> str:
    if stop.is_set():
        return run.name
    file = write_options(run, size, folder)
    environment = dict(os.environ)
    if SIZES[size].threads:
        environment |= {"OMP_NUM_THREADS": str(SIZES[size].threads)}
    command = [sys.executable, str(ROOT / "basicsr/train.py"), "-opt", str(file)]
    if (folder / run.name).exists():
        command.append("--auto_resume")
    output = folder / f"{run.name}.out"
    with open(output, "w", encoding="utf-8") as stream:
        process = subprocess.Popen(command, stdout=stream, stderr=subprocess.STDOUT, env=environment, cwd=ROOT)
        for _ in _while_running(process):
            if stop.is_set():
                process.terminate()
    if process.returncode and not stop.is_set():
        lines = output.read_text(encoding="utf-8").splitlines()
        raise TrainingError(f"{run.name} failed; the end of {output}:\n" + "\n".join(lines[-8:]))
    return run.name


def _while_running(process: subprocess.Popen[bytes]) -> Iterator[None]:
    while True:
        try:
            process.wait(timeout=0.5)
            return
        except subprocess.TimeoutExpired:
            yield


def _note_duration(folder: Path, num_runs: int, seconds: float) -> None:
    with open(folder / "durations.txt", "a", encoding="utf-8") as file:
        file.write(f"{num_runs} runs in {seconds / 60:.1f} minutes\n")
