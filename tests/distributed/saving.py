"""Saves a checkpoint of a small model and says what each rank copied for it; run by ``test_saving``.

Usage: ``torchrun … saving.py FOLDER``. Every rank writes ``rank<N>.json``: which networks were read for saving,
which groups were made, and what the collective operations gave; rank 0 writes the checkpoint.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from basicsr.models import base_model
from basicsr.models.base_model import BaseModel
from basicsr.models.checkpoint import Position, load_checkpoint, save_checkpoint
from basicsr.utils import dist_util
from basicsr.weights import live_state


class SmallModel(BaseModel):
    """A network with its optimizer, and a pool that differs between ranks."""

    def __init__(self, rank: int) -> None:
        super().__init__({"num_gpu": 0, "rank": rank})
        torch.manual_seed(0)
        self.net_g = torch.nn.Linear(3, 3)
        self.optimizer_g = torch.optim.Adam(self.net_g.parameters())
        self.optimizers.append(self.optimizer_g)
        self.schedulers.append(torch.optim.lr_scheduler.StepLR(self.optimizers[0], 1))

    def training_state(self) -> dict[str, Any]:
        return {**super().training_state(), "pair_pool": self.own_state()}

    def own_state(self) -> dict[str, Any]:
        return {"lq": torch.full((4,), float(self.rank))}


def main() -> None:
    folder = Path(sys.argv[1])
    rank = int(os.environ["RANK"])
    dist.init_process_group("gloo")
    copied: list[str] = []
    made: list[str] = []
    new_group = dist.new_group

    def counting_copy(net: torch.nn.Module) -> Any:
        copied.append(type(net).__name__)
        return live_state(net)

    def noting_group(*args: Any, **kwargs: Any) -> Any:
        made.append(kwargs["backend"])
        return new_group(*args, **kwargs)

    base_model.live_state = counting_copy
    dist.new_group = noting_group
    # As on GPUs, where tensors travel by another backend than objects.
    dist_util.dist.get_backend = lambda group=None: "nccl"
    model = SmallModel(rank)
    paths = [save_checkpoint(folder, model, Position(iteration)) for iteration in (1, 2)]
    gathered = dist_util.gather_on_master(rank)
    everywhere = dist_util.gather_objects(rank)
    chosen = dist_util.broadcast_object(f"from rank {rank}")
    restored = load_checkpoint(paths[-1]).model["pair_pool"]["lq"].tolist()
    found = {"copied": copied, "groups": made, "gathered": gathered, "everywhere": everywhere, "chosen": chosen}
    (folder / f"rank{rank}.json").write_text(json.dumps({**found, "restored": restored}))
    dist_util.barrier()
    dist_util.shut_down_dist()


if __name__ == "__main__":
    main()
