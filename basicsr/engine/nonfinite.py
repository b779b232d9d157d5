"""Stop a run whose loss is NaN or infinite, and keep the batch, which reproduces it."""

from __future__ import annotations

import os
from pathlib import Path

from torch import Tensor

from basicsr.models import BaseModel
from basicsr.models.nonfinite import NonfiniteReport
from basicsr.models.sr_model import SRModel
from basicsr.utils.atomic import atomic_save
from basicsr.utils.dist_util import gather_objects, get_dist_info
from basicsr.utils.errors import TrainingError, name_some
from basicsr.weights import read_file

MAX_NAMED_FILES = 8


def stop_if_nonfinite(model: BaseModel, folder: str | os.PathLike[str], *, wait: bool) -> None:
    """Stops the run if an iteration had a loss that is not finite; models without a ``guard`` are not watched.

    Args:
        model: Has ``guard.poll(wait)``, which gives a report with ``iteration``, ``terms`` and ``batch``, or ``None``.
        folder: The run's folder; the batch goes to ``nonfinite/`` in it.
        wait: Whether to wait for the device and to hear of the other ranks' losses, too. All ranks must then call this.
            To be done before anything is saved: one rank's loss spoils the weights of all.

    Raises:
        TrainingError: With the loss's name, the iteration, the batch's files, and where the batch was kept.
    """
    guard = getattr(model, "guard", None)
    report: NonfiniteReport | None = guard.poll(wait=wait) if guard is not None else None
    found = "" if report is None else f"{', '.join(report.terms)} not finite at iteration {report.iteration:,}"
    others = gather_objects(found) if wait else []
    if report is None:
        for other, text in enumerate(others):
            if text:
                raise TrainingError(f"{text} on rank {other}; see its message")
        return

    # Keep the batch.
    rank, _ = get_dist_info()
    path = Path(folder) / "nonfinite" / f"{report.iteration}_rank{rank}.pth"
    batch = {key: value.detach().cpu() if isinstance(value, Tensor) else value for key, value in report.batch.items()}
    identity = {"iteration": report.iteration, "rank": rank, "seed": model.seed}
    atomic_save({**identity, "terms": report.terms, "batch": batch}, path)

    # Name its files.
    paths = report.batch.get("gt_path") or report.batch.get("lq_path") or []
    files = f"; its images: {name_some(paths, MAX_NAMED_FILES)}" if paths else ""
    raise TrainingError(
        f"{found}. The batch is kept in {path}{files}. "
        "The same options lead to the same loss, with --auto_resume too: try a lower learning rate, "
        "train.clip_grad_norm, train.precision: fp32, or train.on_nonfinite: skip"
    )


def replay_batch(model: SRModel, path: str | os.PathLike[str]) -> dict[str, float]:
    """Repeats the iteration of a batch that was kept, with the weights that the model has.

    Args:
        model: Built to train, in one process, from the run's options.
        path: The file in the run's ``nonfinite/``.

    Returns:
        The losses and logits by name; with the weights from before that iteration, those that stopped the run.
    """
    kept = read_file(path)
    model.rank, model.seed = kept["rank"], kept["seed"]
    model.begin_iteration(kept["iteration"])
    model.feed_data(kept["batch"])
    model.step_random.set_state(kept["batch"]["generator"])
    model.optimize_parameters(kept["iteration"])
    return dict(model.get_current_log())
