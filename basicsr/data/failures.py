"""Images that cannot be used: they travel with the batch, are counted, and stop the run when there are too many."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import default_collate

from basicsr.utils.errors import DataError, UserError

FAILED_KEY = "failed"
_MOST_NAMED = 20


def largest_allowed(max_failed_share: float, dataset_len: int) -> int:
    """How many images of a data set may be unusable."""
    return math.floor(max_failed_share * dataset_len)


def collate_samples(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Makes a batch; what failed while its samples were loaded becomes one list under ``failed``.

    Args:
        samples: From a data set. A sample that holds nothing but ``failed`` (no replacement was found) adds no image.

    Returns:
        Tensors stacked on a new first axis, strings in lists; only ``failed`` if there is no image at all.

    Raises:
        UserError: If images in one batch have different sizes.
    """
    failed = [line for sample in samples for line in sample.get(FAILED_KEY, "").splitlines()]
    kept = [{key: value for key, value in sample.items() if key != FAILED_KEY} for sample in samples]
    kept = [sample for sample in kept if sample]
    for key, first in kept[0].items() if kept else ():
        if isinstance(first, torch.Tensor):
            shapes = {tuple(sample[key].shape) for sample in kept}
            if len(shapes) > 1:
                raise UserError(
                    f"a batch needs images of one size, but {key!r} has shapes {sorted(shapes)[:4]}; "
                    "use a batch size of 1, or a gt_size"
                )
    batch: dict[str, Any] = default_collate(kept) if kept else {}
    batch[FAILED_KEY] = failed
    return batch


class FailureCounter:
    """Counts the images of one data set that could not be used, each once.

    Args:
        dataset_len: Images in the data set.
        max_failed_share: Largest share of them that may fail.
        name: The data set, for messages.
    """

    def __init__(self, dataset_len: int, max_failed_share: float = 0.05, name: str = "data set") -> None:
        self.dataset_len = dataset_len
        self.max_failed_share = max_failed_share
        self.name = name
        self.failed: dict[str, None] = {}

    def __len__(self) -> int:
        return len(self.failed)

    def update(self, batch: Mapping[str, Any]) -> None:
        """Takes in a batch; each new failure is logged.

        Raises:
            DataError: If more than the allowed share of the data set has failed.
        """
        lines = batch.get(FAILED_KEY, ())
        for line in (
            lines.splitlines() if isinstance(lines, str) else [one for text in lines for one in text.splitlines()]
        ):
            if line not in self.failed:
                self.failed[line] = None
                logging.getLogger("basicsr").warning("%s: image skipped: %s", self.name, line)
        allowed = largest_allowed(self.max_failed_share, self.dataset_len)
        if len(self.failed) > min(allowed, self.dataset_len - 1):
            raise DataError(self._explain())

    def _explain(self) -> str:
        named = list(self.failed)
        lines = [f"  {line}" for line in named[:_MOST_NAMED]]
        if len(named) > _MOST_NAMED:
            lines.append(f"  and {len(named) - _MOST_NAMED} more")
        return (
            f"{self.name}: {len(named)} of {self.dataset_len} images cannot be used, more than max_failed_share "
            f"{self.max_failed_share:g} allows; mend or remove them "
            "(scripts/data_preparation/check_dataset.py finds all):\n" + "\n".join(lines)
        )
