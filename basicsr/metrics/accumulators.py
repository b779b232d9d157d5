"""Running sums over images, and how they are put together across processes.

An accumulator's whole state is one float64 tensor of sums, so the state of several processes is the sum of theirs:
``all_reduce`` with ``SUM``, then ``compute``. The result does not depend on how images were divided among processes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from basicsr.metrics.fid import calculate_fid
from basicsr.metrics.metric import Levels, Metric


class Accumulator:
    """Sums over images.

    Attributes:
        reduction: How states of several processes are combined.
        state: The sums, float64; what a checkpoint stores.
    """

    reduction: ClassVar[str] = "sum"

    def __init__(self, size: int) -> None:
        self.state = torch.zeros(size, dtype=torch.float64)

    def reset(self) -> None:
        """Forgets everything."""
        self.state.zero_()

    def merge(self, other: Accumulator) -> None:
        """Adds what another accumulator of the same kind has seen."""
        self.state += other.state

    def synchronize(self, device: torch.device | str = "cpu", group: dist.ProcessGroup | None = None) -> None:
        """Replaces the state of every process by the sum over all; does nothing outside a process group.

        Args:
            device: Where the reduction runs: the process's GPU for NCCL, else the CPU.
            group: The process group; all processes by default.
        """
        if dist.is_available() and dist.is_initialized():
            total = self.state.to(device)
            dist.all_reduce(total, op=dist.ReduceOp.SUM, group=group)
            self.state = total.cpu()


class MeanAccumulator(Accumulator):
    """The mean of a number per image: the state is (sum, count)."""

    def __init__(self) -> None:
        super().__init__(2)

    @property
    def count(self) -> int:
        return int(self.state[1])

    def update(self, values: Tensor | np.ndarray | float) -> None:
        """Adds one value per image."""
        added = torch.as_tensor(values, dtype=torch.float64, device="cpu").detach().flatten()
        self.state += torch.stack([added.sum(), torch.tensor(float(added.numel()), dtype=torch.float64)])

    def compute(self) -> float:
        """The mean; ``nan`` before the first value, ``inf`` when an image equalled its reference under PSNR."""
        return float(self.state[0] / self.state[1]) if self.count else float("nan")


class MetricAccumulator(MeanAccumulator):
    """The mean of one registered metric over images.

    Args:
        opt: The metric's option block.

    Attributes:
        metric: The metric, see :class:`basicsr.metrics.metric.Metric`.

    Raises:
        UserError: If the type or an option is unknown.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__()
        self.metric = Metric(opt)

    def measure(self, sr: Levels, gt: Levels | None = None) -> Tensor:
        """Measures a batch, adds its values and returns them, ``(B,)``.

        Raises:
            ValueError: If the images do not fit or a reference is missing.
        """
        values = self.metric.measure(sr, gt)
        self.update(values)
        return values


class FeatureAccumulator(Accumulator):
    """Mean and covariance of feature vectors: the state is (count, sum, sum of outer products).

    Args:
        num_features: Length of a feature vector.
        offset: Subtracted from every feature before summing; near the mean, it keeps the covariance accurate when the
            mean is large beside the spread. All processes must use the same.
    """

    def __init__(self, num_features: int, offset: Tensor | None = None) -> None:
        super().__init__(1 + num_features + num_features**2)
        self._num_features = num_features
        self._offset = torch.zeros(num_features, dtype=torch.float64) if offset is None else offset.double().cpu()

    def update(self, features: Tensor) -> None:
        """Adds feature vectors ``(N, D)``.

        Raises:
            ValueError: If their length differs.
        """
        if features.ndim != 2 or features.shape[1] != self._num_features:
            raise ValueError(f"expected features (N, {self._num_features}), got shape {tuple(features.shape)}")
        centred = features.detach().cpu().double() - self._offset
        count = torch.tensor([float(len(centred))], dtype=torch.float64)
        self.state += torch.cat([count, centred.sum(0), (centred.T @ centred).flatten()])

    def compute(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean ``(D,)`` and unbiased covariance ``(D, D)``.

        Raises:
            ValueError: If fewer than two vectors were added.
        """
        count = float(self.state[0])
        if count < 2:
            raise ValueError(f"a covariance needs at least two feature vectors, got {count:.0f}")
        mean = self.state[1 : 1 + self._num_features] / count
        moment = self.state[1 + self._num_features :].reshape(self._num_features, -1)
        covariance = (moment - count * torch.outer(mean, mean)) / (count - 1)
        return (mean + self._offset).numpy(), covariance.numpy()

    def distance(self, other: FeatureAccumulator) -> float:
        """Fréchet distance to the features of another accumulator; see :func:`basicsr.metrics.fid.calculate_fid`."""
        return calculate_fid(*self.compute(), *other.compute())
