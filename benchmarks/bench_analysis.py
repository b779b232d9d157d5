"""Ratios of the straightforward analysis (``analysis_reference.py``) to the library, with equal results asserted.

Both are timed alternately, each in a process of its own as it would be used: in one process the straightforward way
would profit from memory that the library's larger batches leave with the allocator (``--one_process`` shows how much).
The ratio is that of the fastest runs. Photographs are scikit-image's; critics are the networks of two published recipes
with random weights, for the straightforward way with forward passes written plainly (``plain_networks.py``;
``--same_network`` gives it the library's). Run::

    python benchmarks/bench_analysis.py [--threads 2] [--device cpu] [--repeats 3] [--only statistics …]
"""

from __future__ import annotations

import argparse
import multiprocessing
import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal, Protocol

import analysis_reference as reference
import cv2
import numpy as np
import torch
from plain_networks import score_plainly

from basicsr.adversarial import Critic
from basicsr.analysis.images import Runtime, list_images
from basicsr.analysis.quality_critic import QualityCritic
from basicsr.analysis.robustness import RobustnessSettings, measure_robustness
from basicsr.analysis.scorer import CropPlan, Judge, score_images
from basicsr.analysis.statistics import estimate_statistics
from basicsr.archs import build_network

RECIPES: dict[str, dict[str, dict[str, Any]]] = {
    "esrgan_x4_dual_former": {
        "spatial": {
            "type": "SwinTransformer",
            "patch_size": 32,
            "num_classes": 1,
            "embed_dim": 96,
            "depths": [8, 2],
            "num_heads": [3, 6],
            "window_size": 4,
        },
        "spectral": {
            "type": "SpectralDiscriminator2D",
            "patch_size": 32,
            "embed_dim": 96,
            "depths": [8, 2],
            "num_heads": [3, 6],
            "window_size": 4,
            "fix_normalize": True,
        },
    },
    "esrgan_x4_sgd_dual_former": {
        "spatial": {
            "type": "SwinTransformer",
            "patch_size": 8,
            "num_classes": 1,
            "embed_dim": 64,
            "depths": [8, 2],
            "num_heads": [2, 4],
            "mlp_ratio": 2,
            "window_size": 24,
        },
        "spectral": {
            "type": "SpectralDiscriminator2D",
            "patch_size": 64,
            "embed_dim": 64,
            "depths": [6],
            "num_heads": [2],
            "mlp_ratio": 2,
            "window_size": 3,
            "reduction": "mean",
        },
    },
}
GOALS = {"robustness": 5.0, "statistics": 5.0, "scoring": 2.0}


def build_critics(recipe: str, size: int, device: str, **changes: int) -> dict[str, QualityCritic]:
    critics = {}
    for name, block in RECIPES[recipe].items():
        torch.manual_seed(0)
        window = changes.get(name, block["window_size"])
        net = build_network({**block, "img_size": size, "window_size": window})
        critic = Critic(name, net.to(device).eval().requires_grad_(False))
        critics[name] = QualityCritic(critic, (size, size), "random")
    return critics


def save_photographs(folder: Path, count: int) -> list[Path]:
    """Photographs of 512x400 pixels; copies under other names give other crops."""
    from skimage import data

    for index in range(count):
        name = ("astronaut", "chelsea", "coffee", "rocket")[index % 4]
        image = cv2.resize(getattr(data, name)(), (512, 400), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{index:03}_{name}.png"), image[:, :, ::-1])
    return list_images(folder)


Way = Literal["straightforward", "library"]
WAYS: tuple[Way, ...] = ("straightforward", "library")
Run = Callable[[], list[np.ndarray]]


def plain_score(critic: QualityCritic, args: argparse.Namespace) -> reference.Score:
    """How the straightforward way scores one picture."""
    if args.same_network:
        return lambda x: critic(x.to(args.device))
    return lambda x: score_plainly(critic.net, x.to(args.device))


@dataclass(frozen=True)
class RobustnessCase:
    goal = "robustness"
    recipe: str
    size: int
    label: str

    def describe(self, images: int) -> str:
        return f"{self.recipe}, {self.label} critic, {images} images of {self.size} pixels, 20 bands"

    def prepare(self, way: Way, paths: list[Path], args: argparse.Namespace) -> Run:
        settings = RobustnessSettings(input_size=self.size, divide=20)
        critic = build_critics(self.recipe, self.size, args.device)[self.label]
        if way == "straightforward":
            return lambda: list(reference.measure_robustness(paths, plain_score(critic, args), settings))

        def run() -> list[np.ndarray]:
            judged = {"critic": critic}
            runtime = Runtime(batch_size=41, device=args.device)
            scores = measure_robustness(paths, judged, settings, runtime)[0]["critic"]
            return [np.repeat(scores.clean[:, None], settings.divide, 1), scores.masked, scores.noisy]

        return run


@dataclass(frozen=True)
class StatisticsCase:
    goal = "statistics"
    size: int = 256
    repeat: int = 8

    def describe(self, images: int) -> str:
        return f"{images * self.repeat} crops of {self.size} pixels"

    def prepare(self, way: Way, paths: list[Path], args: argparse.Namespace) -> Run:
        if way == "straightforward":
            return lambda: list(reference.estimate_statistics(paths, self.size, self.repeat, 23))

        def run() -> list[np.ndarray]:
            how = Runtime(num_workers=args.workers, device=args.device)
            statistics, _ = estimate_statistics(paths, patch_size=self.size, repeat=self.repeat, runtime=how)
            return [statistics.mean, statistics.std]

        return run


@dataclass(frozen=True)
class ScoringCase:
    goal = "scoring"
    recipe: str
    size: int
    windows: dict[str, int] = field(default_factory=dict)

    def describe(self, images: int) -> str:
        return f"{self.recipe}, {images} images, 30 crops of {self.size} pixels"

    def prepare(self, way: Way, paths: list[Path], args: argparse.Namespace) -> Run:
        plan = CropPlan("random", (self.size, self.size), n_ensemble=30)
        critics = list(build_critics(self.recipe, self.size, args.device, **self.windows).values())
        if way == "straightforward":
            functions = [plain_score(critic, args) for critic in critics]
            return lambda: list(reference.score_random_crops(paths, functions, plan))

        def run() -> list[np.ndarray]:
            judges = {critic.critic.name: Judge(critic, plan) for critic in critics}
            scores = score_images(paths, judges, Runtime(batch_size=args.batch_size, device=args.device)).scores
            return [scores[critic.name] for critic in critics]

        return run


Case = RobustnessCase | StatisticsCase | ScoringCase
CASES: tuple[Case, ...] = (
    *(RobustnessCase("esrgan_x4_dual_former", 128, label) for label in ("spatial", "spectral")),
    *(RobustnessCase("esrgan_x4_sgd_dual_former", 192, label) for label in ("spatial", "spectral")),
    StatisticsCase(),
    ScoringCase("esrgan_x4_dual_former", 128),
    ScoringCase("esrgan_x4_sgd_dual_former", 192),
    ScoringCase("esrgan_x4_sgd_dual_former", 384, {"spectral": 6}),
)


def timed(run: Run, args: argparse.Namespace) -> tuple[float, list[np.ndarray]]:
    clock = time.process_time if args.cpu_time else time.perf_counter
    start = clock()
    results = run()
    return clock() - start, results


def serve(connection: Connection, case: Case, way: Way, paths: list[Path], args: argparse.Namespace) -> None:
    """Runs one way whenever asked to, until told to stop."""
    torch.set_num_threads(args.threads)
    run = case.prepare(way, paths, args)
    while connection.recv():
        connection.send(timed(run, args))


class Runner(Protocol):
    def run(self) -> tuple[float, list[np.ndarray]]: ...
    def close(self) -> None: ...


class ProcessRunner:
    """One way of one case in a process of its own."""

    def __init__(self, *job: Any) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *job), daemon=True)
        self._process.start()
        theirs.close()

    def run(self) -> tuple[float, list[np.ndarray]]:
        self._connection.send(True)
        seconds, results = self._connection.recv()
        return seconds, results

    def close(self) -> None:
        self._connection.send(False)
        self._process.join()


class LocalRunner:
    """One way of one case in this process."""

    def __init__(self, case: Case, way: Way, paths: list[Path], args: argparse.Namespace) -> None:
        self._run, self._args = case.prepare(way, paths, args), args

    def run(self) -> tuple[float, list[np.ndarray]]:
        return timed(self._run, self._args)

    def close(self) -> None:
        pass


def compare(case: Case, paths: list[Path], args: argparse.Namespace) -> None:
    """Runs both ways alternately, checks that results agree, prints the ratio of the fastest runs."""
    kind = LocalRunner if args.one_process else ProcessRunner
    runners: list[Runner] = [kind(case, way, paths, args) for way in WAYS]
    fastest = [float("inf"), float("inf")]
    for _ in range(args.repeats):
        results = []
        for which, runner in enumerate(runners):
            seconds, result = runner.run()
            results.append(result)
            fastest[which] = min(fastest[which], seconds)
        for expected, actual in zip(*results, strict=True):
            # Both compute in float32, in another order.
            np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-6 * np.abs(expected).max())
    for runner in runners:
        runner.close()
    ratio, goal = fastest[0] / fastest[1], GOALS[case.goal]
    print(
        f"{case.goal:12} {fastest[0]:8.3f} s -> {fastest[1]:8.3f} s   {ratio:5.1f}x (goal {goal:g}x)   "
        f"{case.describe(len(paths))}",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=0, help="decoding processes of our statistics")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--batch_size", type=int, default=30, help="crops per forward pass of our scoring")
    parser.add_argument("--only", nargs="+", choices=list(GOALS), default=list(GOALS))
    parser.add_argument("--size", type=int, nargs="+", help="only cases of these sizes")
    parser.add_argument("--one_process", action="store_true", help="run both ways in one process")
    parser.add_argument(
        "--cpu_time",
        action="store_true",
        help="compare processor time instead of elapsed time: for a machine that is busy with other work",
    )
    parser.add_argument("--same_network", action="store_true", help="the library's forward pass for both ways")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.cuda.get_device_name() if args.device.startswith("cuda") else platform.processor() or "CPU"
    print(f"torch {torch.__version__}, {device}, {args.threads} threads, fastest of {args.repeats} runs each")
    with tempfile.TemporaryDirectory() as folder:
        paths = save_photographs(Path(folder), args.images)
        for case in CASES:
            if case.goal in args.only and (not args.size or case.size in args.size):
                compare(case, paths, args)


if __name__ == "__main__":
    main()
