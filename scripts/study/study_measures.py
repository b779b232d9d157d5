"""What is measured on the finished runs: image quality, sensitivity and discernment per band, the quality ladder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import study_ladder
import torch
from study_runs import CONDITIONS, QUALITY, Run, all_runs, is_finished, study_folder
from torch import Tensor
from tqdm import tqdm

from basicsr.analysis.experiments import find_option_file, read_option_file
from basicsr.analysis.images import Runtime, draw_offset, list_images, read_image, to_float
from basicsr.analysis.quality_critic import QualityCritic, load_critic
from basicsr.analysis.robustness import RobustnessSettings, measure_robustness
from basicsr.analysis.robustness_report import find_switch_over, summarise_scores
from basicsr.evaluation.tables import write_json
from basicsr.spectral.bands import add_band_noise, even_edges, make_band_masks
from basicsr.utils.errors import DataError

NUM_BANDS = 10
NUM_CROPS = 32
"""Crops of each held-out photograph for the two measures of critics."""

CROP_SEED = 23


def critics_of(condition: str) -> dict[str, str]:
    """Weights files of a condition's critics by label: ``D`` of images, ``S`` of spectra."""
    if condition == "spatial":
        return {"D": "net_d"}
    if condition == "spectral":
        return {"S": "net_d"}
    return {"D": "net_d", "S": "net_spectral_d"} if condition not in ("none", "start") else {}


def measure_all(seeds: Sequence[int], size: str, device: str, root: Path | None = None) -> dict[str, Any]:
    """Measures every run and writes ``<folder>/results.json``.

    Raises:
        DataError: If a run is not finished.
    """
    folder = study_folder(size, root)
    unfinished = [run.name for run in all_runs(seeds) if not is_finished(run, folder)]
    if unfinished:
        raise DataError(f"not trained yet: {', '.join(unfinished)}; run study.py train first")
    study_ladder.make_ladder(folder / "ladder")
    photographs = list_held_out(folder / Run("none", seeds[0]).name)
    results: dict[str, Any] = {
        "size": size,
        "seeds": list(seeds),
        "torch": torch.__version__,
        "bands": even_edges(NUM_BANDS),
        "images": {},
        "critics": {},
        "ladder": {},
    }
    runs = [Run(condition, seed) for condition in (*CONDITIONS, QUALITY) for seed in seeds]
    for run in tqdm(runs, unit="run", desc="measuring", disable=None):
        place = folder / run.name
        if run.condition != QUALITY:
            results["images"][run.name] = json.loads((place / "summary.json").read_text(encoding="utf-8"))
            results["critics"][run.name] = measure_critics(run, place, photographs, device)
        if "S" in (critics := critics_of(run.condition)) and "D" in critics:
            scores = study_ladder.score_ladder(folder / "ladder", place, device)
            results["ladder"][run.name] = {
                critic: study_ladder.rank_agreement(by_file) for critic, by_file in scores.items()
            }
    write_json(results, folder / "results.json")
    return results


def list_held_out(experiment: Path) -> dict[str, Path]:
    """GT files of the held-out photographs by name, from a run's option file."""
    options = read_option_file(find_option_file(experiment))
    return {path.stem: path for path in list_images(options["datasets"]["val"]["dataroot_gt"])}


def measure_critics(run: Run, place: Path, photographs: dict[str, Path], device: str) -> dict[str, Any]:
    """Curves over frequency of a run's critics, and where those of D and S cross."""
    critics = {
        label: load_critic(place, weights, name=label, device=device)
        for label, weights in critics_of(run.condition).items()
    }
    if not critics:
        return {}
    size = next(iter(critics.values())).input_size
    assert size is not None
    settings = RobustnessSettings(input_size=size[0], divide=NUM_BANDS, repeat=NUM_CROPS, seed=CROP_SEED)
    scores, _ = measure_robustness(list(photographs.values()), critics, settings, Runtime(batch_size=84, device=device))
    curves = {label: summarise_scores(label, part, settings.edges) for label, part in scores.items()}
    found: dict[str, Any] = {
        label: {
            "masked": curve.masked.absolute,
            "noisy": curve.noisy.absolute,
            "discernment": measure_discernment(critics[label], place, photographs, size[0], device),
        }
        for label, curve in curves.items()
    }
    if len(curves) == 2:
        first, second = curves["D"], curves["S"]
        found["switch_over"] = {
            kind: vars(find_switch_over(getattr(first, kind).absolute, getattr(second, kind).absolute, first.frequency))
            for kind in ("masked", "noisy")
        }
    return found


@torch.inference_mode()
def measure_discernment(
    critic: QualityCritic, place: Path, photographs: dict[str, Path], size: int, device: str
) -> dict[str, Any]:
    """How well a critic tells real crops from crops of which one band comes from the run's own generator.

    Returns:
        ``bands``: for each band the share of crops in which the real one scores higher (0.5: no better than chance);
        ``whole``: the same for wholly generated crops.
    """
    masks = make_band_masks(size, size, even_edges(NUM_BANDS))
    better: list[Tensor] = []
    whole: list[Tensor] = []
    for name, path in photographs.items():
        real = to_float(read_image(path))
        generated = to_float(read_image(find_generated(place, name)))
        real_crops, generated_crops = cut_same(real, generated, name, size)
        # A band of x taken from y is x plus that band of y - x.
        mixed = add_band_noise(real_crops, generated_crops - real_crops, masks)
        clean = critic(real_crops.to(device)).cpu()
        scores = critic(mixed.flatten(0, 1).to(device)).cpu().reshape(len(clean), -1)
        better.append(clean[:, None] > scores)
        whole.append(clean > critic(generated_crops.to(device)).cpu())
    return {
        "bands": torch.cat(better).double().mean(dim=0),
        "whole": float(torch.cat(whole).double().mean()),
    }


def find_generated(place: Path, name: str) -> Path:
    """The image that a run's final generator made of a photograph."""
    files = [*(place / "visualization" / name).glob(f"{name}_*.png")]
    numbered = {int(file.stem.rsplit("_", 1)[1]): file for file in files if file.stem.rsplit("_", 1)[1].isdigit()}
    if not numbered:
        raise DataError(f"{place / 'visualization'} has no generated image of {name}")
    return numbered[max(numbered)]


def cut_same(real: Tensor, generated: Tensor, name: str, size: int) -> tuple[Tensor, Tensor]:
    """The same random crops of two (3, H, W) images: twice (NUM_CROPS, 3, size, size)."""
    corners = [
        draw_offset(CROP_SEED, name, draw, real.shape[1], real.shape[2], (size, size)) for draw in range(NUM_CROPS)
    ]
    real_crops, generated_crops = (
        torch.stack([image[:, top : top + size, left : left + size] for top, left in corners])
        for image in (real, generated)
    )
    return real_crops, generated_crops


def collect(results: dict[str, Any], condition: str) -> dict[str, np.ndarray]:
    """Means over held-out photographs of a condition's image metrics: ``{metric: (seeds,)}``."""
    return _collect_images(results, condition, "net_g")


def collect_bicubic(results: dict[str, Any]) -> dict[str, float]:
    """The same of bicubic interpolation."""
    return {metric: float(values[0]) for metric, values in _collect_images(results, "none", "bicubic").items()}


def _collect_images(results: dict[str, Any], condition: str, method: str) -> dict[str, np.ndarray]:
    rows = [
        [image[method] for image in results["images"][Run(condition, seed).name].values()] for seed in results["seeds"]
    ]
    return {metric: np.array([np.mean([image[metric] for image in row]) for row in rows]) for metric in rows[0][0]}
