"""Builds a recipe's degradation from the option file's keys."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from basicsr.degradation import DEGRADATIONS, PairPool


def build_degradation(name: str, opt: Mapping[str, Any]) -> Any:
    """Builds the degradation ``name`` of :data:`basicsr.degradation.DEGRADATIONS`.

    Its arguments are looked up by name in the ``degradation`` block, at the top level (where published option files
    have them), and, for the crop size, in the training data set's block.

    Raises:
        ValueError: If a value cannot work; the message names the option.
    """
    cls = DEGRADATIONS[name]
    sources = [opt.get("degradation") or {}, opt, (opt.get("datasets") or {}).get("train") or {}]
    arguments = {}
    for parameter in inspect.signature(cls).parameters:
        for source in sources:
            if source.get(parameter) is not None:
                arguments[parameter] = source[parameter]
                break
    return cls(**arguments)


def build_pair_pool(opt: Mapping[str, Any]) -> PairPool | None:
    """Builds the pool of ``queue_size`` pairs; ``None`` without that option, or where every image draws for itself.

    Raises:
        ValueError: If ``queue_size`` is not a multiple of ``datasets.train.batch_size_per_gpu``, where that is given.
    """
    queue_size = opt.get("queue_size")
    gated_by_batch = (opt.get("degradation") or {}).get("gate", "batch") == "batch"
    if not queue_size or not gated_by_batch:
        return None
    return PairPool(int(queue_size), ((opt.get("datasets") or {}).get("train") or {}).get("batch_size_per_gpu"))
