"""What a run that waits can do about it: options by the cause, said once per cause and run."""

from __future__ import annotations

from collections.abc import Mapping

from basicsr.engine.loggers import announce
from basicsr.engine.pace import WORTH_NAMING, Pace, describe_shares
from basicsr.models.options import TrainOptions
from basicsr.utils.frozen import FrozenOptions

WORTH_ADVICE = {"data": WORTH_NAMING, "validation": WORTH_NAMING, "saving": WORTH_NAMING}
"""Shares from which a cause is spoken of; of others from half of the time on."""

NETWORKS = "smaller networks (network_g, the critics'), gt_size or batch_size_per_gpu"

ADVICE = {
    "data": "raise datasets.train.num_worker_per_gpu ({num_worker_per_gpu}){prefetch}, or store sub-images or an LMDB "
    "instead of large files (docs/data.md)",
    "host": "{graphs}{compiles_all}raise batch_size_per_gpu ({batch_size_per_gpu}): the device has room",
    "device": "less arithmetic: {rounds}" + NETWORKS,
    "computation": "less arithmetic: " + NETWORKS + ", {compiles}or a GPU",
    "validation": "raise val.val_freq ({val_freq}), or validate fewer or smaller images",
    "saving": "raise logger.save_checkpoint_freq ({save_checkpoint_freq}), or keep fewer states (logger.keep_states)",
}
"""What would help, by the cause; in brackets what is set. What is set already is left out."""


class Adviser:
    """Names what a run waits for, and once per cause what would help.

    Args:
        opt: The run's options.
    """

    def __init__(self, opt: FrozenOptions) -> None:
        self._values = _read_values(opt)
        self._advised: set[str] = set()

    def describe(self, pace: Pace) -> str:
        """The largest shares of the time, such as ``data 62%, computation 35%``; says what would help."""
        shares = pace.shares()
        for cause, share in shares.items():
            if share >= WORTH_ADVICE.get(cause, 0.5) and cause not in self._advised and pace.is_known(cause):
                self._advised.add(cause)
                text = ADVICE[cause].format(**self._values)
                announce("%.0f%% of the time is %s. What would help: %s.", 100 * share, cause, text)
        return describe_shares(shares)


def _read_values(opt: FrozenOptions) -> Mapping[str, object]:
    """What is set of the options that :data:`ADVICE` speaks of."""
    options = opt.typed
    block = opt.get("datasets", {}).get("train", {})
    prefetch = "" if block.get("prefetch_mode") else ", set prefetch_mode: cpu"
    train = options.train or TrainOptions()
    compiles_all = train.compile == "all"
    return {
        "num_worker_per_gpu": block.get("num_worker_per_gpu", 0),
        "batch_size_per_gpu": block.get("batch_size_per_gpu"),
        "prefetch": prefetch,
        "rounds": "train.precision: bf16 or tf32 (fp32), " if train.precision == "fp32" else "",
        "graphs": "" if train.cuda_graph else "train.cuda_graph: true, ",
        "compiles_all": "" if compiles_all else f"train.compile: all ({train.compile}), ",
        "compiles": "" if compiles_all or train.compile == "auto" else f"train.compile: auto ({train.compile}), ",
        "val_freq": options.val.val_freq if options.val else None,
        "save_checkpoint_freq": options.logger.save_checkpoint_freq,
    }
