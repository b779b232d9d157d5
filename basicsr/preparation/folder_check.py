"""Checks a finished folder by decoding every image in it."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from basicsr.data.data_util import match_folders
from basicsr.preparation.parallel import default_workers
from basicsr.utils.errors import DataError
from basicsr.utils.images import decode_image, has_alpha, list_images, read_image_file


@dataclass
class FolderReport:
    """What was found.

    Attributes:
        images: Number of image files.
        gray: How many have one channel.
        alpha: How many have an alpha channel, which training drops.
        deep: How many have 16 bits.
        smallest: Smallest height and width, each over all images.
        largest: Largest height and width, each over all images.
        problems: What is wrong, a sentence each.
    """

    images: int = 0
    gray: int = 0
    alpha: int = 0
    deep: int = 0
    smallest: tuple[int, int] | None = None
    largest: tuple[int, int] | None = None
    problems: list[str] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


@dataclass(frozen=True)
class _Facts:
    size: tuple[int, int] | None
    gray: bool = False
    alpha: bool = False
    deep: bool = False
    problem: str | None = None


def _inspect(path: str) -> _Facts:
    try:
        content = read_image_file(path)
        image = decode_image(content, path)
        gray = decode_image(content, path, unchanged=True).ndim == 2
    except DataError as error:
        return _Facts(None, problem=str(error))
    return _Facts((image.shape[0], image.shape[1]), gray, has_alpha(content), image.dtype == np.uint16)


def check_dataset(
    gt_folder: str | Path,
    lq_folder: str | Path | None = None,
    scale: int | None = None,
    filename_tmpl: str = "{}",
    min_size: int = 1,
    recursive: bool = False,
    num_workers: int | None = None,
) -> FolderReport:
    """Decodes every image; with ``lq_folder`` also checks that the two folders match.

    Args:
        gt_folder: GT images (or any folder of images).
        lq_folder: LQ images.
        scale: GT pixels per LQ pixel; None: sizes are not compared.
        filename_tmpl: Makes the LQ name from the GT name, both without suffix.
        min_size: Smallest side that GT images may have.
        recursive: Look into sub-folders too (without ``lq_folder``).
        num_workers: Images decoded at the same time; None: one a core.

    Returns:
        Counts, sizes and every problem; ``problems`` is empty if all is well.

    Raises:
        DataError: If a folder is missing.
    """
    report = FolderReport()
    names = list_images(gt_folder, recursive and lq_folder is None)
    facts = _inspect_all([os.path.join(gt_folder, name) for name in names], num_workers, report)
    if not names:
        report.problems.append(f"{gt_folder}: no image in this folder")
    for path, found in facts.items():
        if found.size and min(found.size) < min_size:
            report.problems.append(f"{path}: {found.size[0]}x{found.size[1]} pixels, smaller than {min_size}")
    if lq_folder is not None:
        pairs, mismatches = match_folders(lq_folder, gt_folder, filename_tmpl)
        report.problems += [mismatch.message for mismatch in mismatches]
        lq_facts = _inspect_all([lq for lq, _ in pairs], num_workers, report)
        report.problems += _compare(pairs, facts, lq_facts, scale)
    return report


def _inspect_all(paths: list[str], num_workers: int | None, report: FolderReport) -> dict[str, _Facts]:
    from concurrent.futures import ThreadPoolExecutor

    from tqdm import tqdm

    with ThreadPoolExecutor(num_workers or default_workers()) as pool:
        facts = list(tqdm(pool.map(_inspect, paths), total=len(paths), desc="check", unit="image"))
    report.images += len(paths)
    report.gray += sum(found.gray for found in facts)
    report.alpha += sum(found.alpha for found in facts)
    report.deep += sum(found.deep for found in facts)
    report.problems += [found.problem for found in facts if found.problem]
    sizes = [found.size for found in facts if found.size]
    if sizes and report.smallest is None:
        heights, widths = zip(*sizes)
        report.smallest, report.largest = (min(heights), min(widths)), (max(heights), max(widths))
    return dict(zip(paths, facts))


def _compare(
    pairs: list[tuple[str, str]], gts: dict[str, _Facts], lqs: dict[str, _Facts], scale: int | None
) -> list[str]:
    problems = []
    for lq_path, gt_path in pairs:
        gt, lq = gts[gt_path].size, lqs[lq_path].size
        if scale and gt and lq and gt != (lq[0] * scale, lq[1] * scale):
            problems.append(f"{gt_path}: {gt[0]}x{gt[1]} pixels are not {scale} times {lq_path} ({lq[0]}x{lq[1]})")
    return problems
