"""A model, a data set and options that are just large enough for the training loop."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr.data import FailureCounter
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.engine.loaders import TrainingBatches
from basicsr.engine.trainer import TrainingRun
from basicsr.options import RunOptions
from basicsr.utils.frozen import FrozenOptions, freeze
from basicsr.utils.seeding import torch_generator


def make_options(root: Path, val_freq: int = 100, **train: Any) -> FrozenOptions:
    folder = root / "experiments" / "run"
    opt: dict[str, Any] = {
        "name": "run",
        "scale": 1,
        "num_gpu": 0,
        "is_train": True,
        "manual_seed": 0,
        "root_path": str(root),
        "path": {
            "experiments_root": str(folder),
            "models": str(folder / "models"),
            "training_states": str(folder / "training_states"),
            "visualization": str(folder / "visualization"),
            "log": str(folder),
        },
        "train": {"total_iter": 10, "warmup_iter": -1, **train},
        "val": {"val_freq": val_freq, "metrics": {}},
        "logger": {"print_freq": 5, "save_checkpoint_freq": 4, "use_tb_logger": False},
    }
    return freeze(opt, RunOptions.model_validate(opt))


class Numbers:
    """A data set of numbers; what a sample holds depends on its visit."""

    def __init__(self, count: int = 10) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: Any) -> dict[str, Any]:
        noise = torch.rand(1, generator=torch_generator("numbers", index.epoch, index.draw))
        return {
            "lq": torch.tensor([float(index)]) + noise,
            "gt": torch.tensor([2.0 * index]),
            "gt_path": f"{index}.png",
        }


class Loader:
    def __init__(self, dataset: Numbers, sampler: EnlargedSampler, batch_size: int) -> None:
        self.dataset, self.sampler, self.batch_size = dataset, sampler, batch_size
        self.failures = FailureCounter(len(dataset))

    def __iter__(self) -> Iterator[dict[str, Any]]:
        samples: list[dict[str, Any]] = []
        for index in self.sampler:
            samples.append(self.dataset[index])
            if len(samples) == self.batch_size:
                tensors = {key: torch.stack([sample[key] for sample in samples]) for key in ("lq", "gt")}
                yield {**tensors, "gt_path": [sample["gt_path"] for sample in samples]}
                samples = []


def make_batches(count: int = 10, batch_size: int = 3, ratio: float = 1) -> TrainingBatches:
    dataset = Numbers(count)
    sampler = EnlargedSampler(dataset, 1, 0, ratio)
    return TrainingBatches(Loader(dataset, sampler, batch_size))


class TinyModel:
    """A line that is fitted by Adam; what it drew and saw is part of its weights."""

    def __init__(self, opt: FrozenOptions) -> None:
        torch.manual_seed(0)
        self.opt = opt
        self.seed = 0
        self.device = torch.device("cpu")
        self.net = nn.Linear(1, 1)
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=0.01)
        self.best_metric_results: dict[str, Any] = {}
        self.seen: list[int] = []
        self.validated: list[int] = []
        self.exported: list[int] = []
        self.calls: list[str] = []
        self.loss = torch.zeros(())

    def begin_iteration(self, current_iter: int) -> None:
        self.calls.append("begin")
        self.generator = torch_generator("step", 0, current_iter)

    def feed_data(self, data: dict[str, Any]) -> None:
        self.calls.append("feed")
        self.data = data

    def optimize_parameters(self, current_iter: int) -> None:
        self.calls.append("optimize")
        self.seen.append(current_iter)
        noise = 0.01 * torch.randn(self.data["lq"].shape, generator=self.generator)
        self.loss = (self.net(self.data["lq"] + noise) - self.data["gt"]).square().mean()
        self.optimizer.zero_grad()
        self.loss.backward()
        self.optimizer.step()

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        self.calls.append("rate")

    def get_current_learning_rate(self) -> list[float]:
        return [0.01]

    def get_current_log(self) -> dict[str, float]:
        return {"l_pix": float(self.loss.detach())}

    def overrides(self, *methods: str) -> bool:
        return False

    def weights_files(self, current_iter: int) -> dict[Path, dict[str, str]]:
        return {}

    def save_networks(self, current_iter: int) -> None:
        self.exported.append(current_iter)

    def validation(self, loader: Any, current_iter: int, tb_logger: Any, save_img: bool) -> dict[str, Any]:
        self.validated.append(current_iter)
        return {}

    def training_state(self) -> dict[str, Any]:
        weights: dict[str, Tensor] = {key: value.clone() for key, value in self.net.state_dict().items()}
        return {"net": weights, "optimizer": self.optimizer.state_dict(), "pair_pool": self.own_state()}

    def own_state(self) -> dict[str, Any]:
        return {"rank": torch.tensor(0)}

    def load_training_state(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])

    def bits(self) -> list[float]:
        return [value for parameter in self.net.parameters() for value in parameter.flatten().tolist()]


def make_run(root: Path, batches: TrainingBatches | None = None, **train: Any) -> TrainingRun:
    opt = make_options(root, **train)
    return TrainingRun(opt, TinyModel(opt), batches or make_batches(), val_loaders=[object()])
