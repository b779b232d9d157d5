"""Crashes of a step in words: which network or loss could not take which images, and what to do about it."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from basicsr.engine.model_copy import place_of
from basicsr.engine.term_proof import CHANNEL_ARGUMENTS, advise_channels
from basicsr.models import BaseModel
from basicsr.utils.errors import Problem, first_line

MISFITS = (RuntimeError, ValueError, IndexError, ArithmeticError, AssertionError)
"""What code raises that was given images or options which do not fit; other exceptions are defects."""

Running = list[tuple[str, tuple[int, ...]]]
"""Where today's form of the options has the parts that run at the moment, outermost first, and their inputs' shapes."""


@contextmanager
def following(actor: BaseModel, running: Running) -> Iterator[None]:
    """Keeps a list of the networks and losses that run at the moment, outermost first, with their input's shape."""
    watched = [(place_of(actor, name), net) for name, net in actor.networks().items()]
    if actor.average is not None:
        watched.append((place_of(actor, "g"), actor.average))
    content = getattr(actor, "content", None)
    watched += [(f"losses.{name}", loss) for name, loss in getattr(content, "losses", {}).items()]
    hooks = []
    for place, module in watched:

        def enter(module: nn.Module, args: tuple[Any, ...], place: str = place) -> None:
            running.append((place, tuple(getattr(args[0] if args else None, "shape", ()))))

        hooks.append(module.register_forward_pre_hook(enter))
        hooks.append(module.register_forward_hook(lambda *_: running.pop() and None))
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def explain(actor: BaseModel, error: BaseException, running: Running) -> Problem:
    """A crash of the step in words: which part could not take what, and what to do about it."""
    reason = f"{type(error).__name__}: {first_line(error)}"
    # The line that says most is the last one outside of PyTorch.
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f"{os.sep}torch{os.sep}" not in f.filename]
    where = f"{os.path.basename(frames[-1].filename)}:{frames[-1].lineno}" if frames else "?"
    if not running:
        return Problem("train", f"the step fails at {where}: {reason}")
    place, shape = running[-1]
    given = f" of {'x'.join(map(str, shape))}" if shape else ""
    name = "g" if place == "network_g" else place.split(".")[1] if place.startswith("critics.") else ""
    remedy = "change its arguments"
    if name and len(shape) == 4:
        part = actor.options.network_g if name == "g" else actor.options.critics[name].network
        values = [part.get(key) for key in CHANNEL_ARGUMENTS["in"] if part is not None and part.takes(key)]
        sides = "" if actor.options.scale is None else " or gt_size"
        is_misfit = any(isinstance(value, int) and value != shape[1] for value in values)
        remedy = advise_channels(actor, name, "in", shape[1]) if is_misfit else f"change its arguments{sides}"
    return Problem(place, f"cannot take images{given}; {remedy} ({where}: {reason})")
