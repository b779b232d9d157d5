"""Tiny models, and pictures of every kind that files can hold."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn

from basicsr.archs import build_network


def compact(scale: int = 2, channels: int = 3, seed: int | None = None) -> nn.Module:
    """An SRVGGNetCompact; without a seed it repeats every pixel, exactly."""
    sizes = {"num_in_ch": channels, "num_out_ch": channels, "num_feat": 4, "num_conv": 1, "upscale": scale}
    torch.manual_seed(seed or 0)
    net = build_network({"type": "SRVGGNetCompact", **sizes})
    last = net.body[-1]
    with torch.no_grad():
        if seed is None:
            last.weight.zero_()
        last.bias.zero_()
    return net.eval()


def save(net: nn.Module, path: Path) -> str:
    torch.save({"params": net.state_dict()}, path)
    return str(path)


@pytest.fixture(scope="session")
def repeating(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Weights of a x2 network that repeats every pixel."""
    return save(compact(), tmp_path_factory.mktemp("weights") / "repeating.pth")


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.chdir(tmp_path)
    yield tmp_path
