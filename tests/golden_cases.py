"""Reads the golden cases: inputs and outputs computed with the method's original implementation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

GOLDEN = Path(__file__).parent / "golden"


@dataclass(frozen=True)
class Case:
    """One golden case; ``arrays`` is its npz as a dict, ``info`` its entry in ``cases.json``."""

    name: str
    info: dict[str, Any]
    arrays: dict[str, np.ndarray]

    @property
    def config(self) -> dict[str, Any]:
        return json.loads(json.dumps(self.info["config"]))

    def tensor(self, key: str) -> torch.Tensor:
        return torch.from_numpy(self.arrays[key].copy())

    def state_dict(self, prefix: str) -> dict[str, torch.Tensor]:
        return {key[len(prefix) :]: self.tensor(key) for key in self.arrays if key.startswith(prefix)}

    def check(self, actual: torch.Tensor | np.ndarray | float, key: str, **tolerance: float) -> None:
        """Compares with the stored array at the case's own tolerance (or a tighter one that is given)."""
        if isinstance(actual, torch.Tensor):
            actual = actual.detach().cpu().numpy()
        expected = self.arrays[key]
        assert np.shape(actual) == expected.shape, f"{self.name} {key}: {np.shape(actual)} != {expected.shape}"
        np.testing.assert_allclose(
            actual,
            expected,
            rtol=tolerance.get("rtol", self.info["rtol"]),
            atol=tolerance.get("atol", self.info["atol"]),
            err_msg=f"{self.name} {key}",
        )


@cache
def _index() -> dict[str, dict[str, Any]]:
    return {entry["name"]: entry for entry in json.loads((GOLDEN / "cases.json").read_text())}


def case_names(prefix: str = "") -> list[str]:
    return [name for name in _index() if name.startswith(prefix)]


@cache
def load_case(name: str) -> Case:
    with np.load(GOLDEN / f"{name}.npz") as stored:
        return Case(name, _index()[name], {key: stored[key] for key in stored.files})


def seeded_state(net: torch.nn.Module, seed: int, gain: float = 1.0, bias_std: float = 0.05) -> None:
    """Fills a network by the seeded formula that ``cases.json`` states for networks too large to store."""
    rng = np.random.RandomState(seed)
    state = net.state_dict()
    for key, value in state.items():
        leaf = key.rsplit(".", 1)[-1]
        if not value.is_floating_point() or key.endswith("attn_mask") or "get_g_nopadding" in key:
            continue
        z = rng.standard_normal(tuple(value.shape))
        if leaf in ("weight_u", "weight_v", "_u", "_v"):
            z = z / np.linalg.norm(z)
        elif value.ndim >= 2:
            z = gain * np.sqrt(2 / np.prod(value.shape[1:])) * z
        elif leaf == "running_var":
            z = 1 + 0.05 * np.abs(z)
        elif leaf == "weight":
            z = 1 + 0.05 * z
        else:
            z = bias_std * z
        state[key] = torch.from_numpy(np.asarray(z, dtype=np.float32))
    net.load_state_dict(state)
