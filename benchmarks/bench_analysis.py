"""Ratios of the straightforward analysis (``analysis_reference.py``) to the library, with equal results asserted.

Both are timed alternately in one process; the ratio is that of the fastest runs. Photographs are scikit-image's;
critics are the networks of two published recipes with random weights. Run::

    python benchmarks/bench_analysis.py [--threads 2] [--device cpu] [--repeats 3] [--only statistics …]
"""

from __future__ import annotations

import argparse
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import analysis_reference as reference
import cv2
import numpy as np
import torch

from basicsr.archs import build_network
from basicsr.iqa.critics import Critic
from basicsr.iqa.protocols import CropPlan
from basicsr.iqa.scorer import Judge, score_images
from basicsr.spectral.images import list_images
from basicsr.spectral.robustness import JudgedCritic, RobustnessSettings, measure_robustness
from basicsr.spectral.statistics import estimate_statistics

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


def build_critics(recipe: str, size: int, device: str, **changes: int) -> dict[str, Critic]:
    critics = {}
    for name, block in RECIPES[recipe].items():
        torch.manual_seed(0)
        window = changes.get(name, block["window_size"])
        net = build_network({**block, "img_size": size, "window_size": window})
        critics[name] = Critic(name, net.to(device).eval().requires_grad_(False), (size, size), "random")
    return critics


def save_photographs(folder: Path, count: int) -> list[Path]:
    """Photographs of 512x400 pixels; copies under other names give other crops."""
    from skimage import data

    for index in range(count):
        name = ("astronaut", "chelsea", "coffee", "rocket")[index % 4]
        image = cv2.resize(getattr(data, name)(), (512, 400), interpolation=cv2.INTER_AREA)
        cv2.imwrite(str(folder / f"{index:03}_{name}.png"), image[:, :, ::-1])
    return list_images(folder)


def compare(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int, note: str) -> None:
    """Runs both alternately, checks that results agree, prints the ratio of the fastest runs."""
    fastest = [float("inf"), float("inf")]
    for _ in range(repeats):
        results = []
        for which, run in enumerate((theirs, ours)):
            start = time.perf_counter()
            results.append(run())
            fastest[which] = min(fastest[which], time.perf_counter() - start)
        for expected, actual in zip(*results):
            # Both compute in float32, in another order.
            np.testing.assert_allclose(actual, expected, rtol=2e-5, atol=1e-6 * np.abs(expected).max(), err_msg=name)
    ratio = fastest[0] / fastest[1]
    print(
        f"{name:12} {fastest[0]:8.3f} s -> {fastest[1]:8.3f} s   {ratio:5.1f}x (goal {GOALS[name]:g}x)   {note}",
        flush=True,
    )


def bench_robustness(paths: list[Path], args: argparse.Namespace) -> None:
    for recipe, size in (("esrgan_x4_dual_former", 128), ("esrgan_x4_sgd_dual_former", 192)):
        settings = RobustnessSettings(input_size=size, divide=20)
        for label, critic in build_critics(recipe, size, args.device).items():

            def ours(critic: Critic = critic, settings: RobustnessSettings = settings) -> list[np.ndarray]:
                judged = {"critic": JudgedCritic(critic, "random")}
                scores = measure_robustness(paths, judged, settings, batch_size=41, device=args.device)[0]["critic"]
                return [np.repeat(scores.clean[:, None], settings.divide, 1), scores.masked, scores.noisy]

            def theirs(critic: Critic = critic, settings: RobustnessSettings = settings) -> list[np.ndarray]:
                return list(reference.measure_robustness(paths, lambda x: critic(x.to(args.device)), settings))

            note = f"{recipe}, {label} critic, {len(paths)} images of {size} pixels, 20 bands"
            compare("robustness", ours, theirs, args.repeats, note)


def bench_statistics(paths: list[Path], args: argparse.Namespace) -> None:
    repeat = 8

    def ours() -> list[np.ndarray]:
        workers = args.workers
        result = estimate_statistics(paths, patch_size=256, repeat=repeat, num_workers=workers, device=args.device)
        return [result.statistics.mean, result.statistics.std]

    def theirs() -> list[np.ndarray]:
        return list(reference.estimate_statistics(paths, 256, repeat, 23))

    compare("statistics", ours, theirs, args.repeats, f"{len(paths) * repeat} crops of 256 pixels")


def bench_scoring(paths: list[Path], args: argparse.Namespace) -> None:
    cases: list[tuple[str, int, dict[str, int]]] = [
        ("esrgan_x4_dual_former", 128, {}),
        ("esrgan_x4_sgd_dual_former", 192, {}),
        ("esrgan_x4_sgd_dual_former", 384, {"spectral": 6}),
    ]
    for recipe, size, windows in cases:
        plan = CropPlan("random", (size, size), n_ensemble=30)
        critics = list(build_critics(recipe, size, args.device, **windows).values())

        def ours(critics: list[Critic] = critics, plan: CropPlan = plan) -> list[np.ndarray]:
            judges = {critic.name: Judge(critic, plan) for critic in critics}
            scores = score_images(paths, judges, batch_size=args.batch_size, device=args.device).scores
            return [scores[critic.name] for critic in critics]

        def theirs(critics: list[Critic] = critics, plan: CropPlan = plan) -> list[np.ndarray]:
            functions = [lambda x, critic=critic: critic(x.to(args.device)) for critic in critics]
            return list(reference.score_random_crops(paths, functions, plan))

        note = f"{recipe}, {len(paths)} images, 30 crops of {size} pixels"
        compare("scoring", ours, theirs, args.repeats, note)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--workers", type=int, default=0, help="decoding processes of our statistics")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--images", type=int, default=4)
    parser.add_argument("--batch_size", type=int, default=30, help="crops per forward pass of our scoring")
    parser.add_argument("--only", nargs="+", choices=list(GOALS), default=list(GOALS))
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    device = torch.cuda.get_device_name() if args.device.startswith("cuda") else platform.processor() or "CPU"
    print(f"torch {torch.__version__}, {device}, {args.threads} threads, fastest of {args.repeats} runs each")
    benches = {"robustness": bench_robustness, "statistics": bench_statistics, "scoring": bench_scoring}
    with tempfile.TemporaryDirectory() as folder:
        paths = save_photographs(Path(folder), args.images)
        for name in args.only:
            benches[name](paths, args)


if __name__ == "__main__":
    main()
