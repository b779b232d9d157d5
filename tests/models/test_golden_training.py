"""Three or four iterations of most model types give the losses and weights of the original implementation."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from golden_cases import Case, case_names, load_case
from golden_training import build, feed, inject_alpha


def check_state(case: Case, name: str, state: dict[str, torch.Tensor], initial: dict[str, torch.Tensor]) -> None:
    digests = case.info.get("digest_keys", {}).get(name)
    if digests:
        check_digests(case, name, digests, state, initial)
        return
    stored = [key for key in case.arrays if key.startswith(f"out.{name}/")]
    assert stored
    for key in stored:
        parameter = key.removeprefix(f"out.{name}/")
        actual = state[parameter].detach().numpy().ravel().copy()
        expected = case.arrays[key].ravel()
        unstable = case.arrays.get(f"unstable.{name}/{parameter}")
        if unstable is not None:
            actual[unstable] = expected[unstable]
        np.testing.assert_allclose(
            actual, expected, rtol=case.info["rtol"], atol=case.info["atol"], err_msg=f"{case.name} {key}"
        )


def check_digests(
    case: Case, name: str, keys: list[str], state: dict[str, torch.Tensor], initial: dict[str, torch.Tensor]
) -> None:
    for row, key in enumerate(keys):
        if "get_g_nopadding" in key:  # the original let its fixed gradient filters train; here they stay as they are
            torch.testing.assert_close(state[key], initial[key], rtol=0, atol=0)
            continue
        final = state[key].detach().numpy().astype(np.float64).ravel()
        delta = final - initial[key].numpy().astype(np.float64).ravel()
        size = final.size
        digest = np.array(
            [
                delta.sum(),
                np.abs(delta).sum(),
                np.linalg.norm(delta),
                (delta * np.cos(np.arange(size))).sum(),
                final[0],
                final[size // 3],
                final[2 * size // 3],
                final[-1],
            ]
        )
        expected = case.arrays[f"out.digest.{name}"][row]
        allowed = 20 * case.arrays[f"noise.digest.{name}"][row] + 1e-3 * np.abs(expected) + 1e-5 * np.sqrt(size)
        assert (np.abs(digest - expected) <= allowed).all(), f"{case.name} {name} {key}: {digest} != {expected}"


@pytest.mark.parametrize("channels_last", [None, False], ids=["", "usual_order"])
@pytest.mark.parametrize("name", case_names("train_"))
def test_training_steps(name: str, channels_last: bool | None, monkeypatch: pytest.MonkeyPatch) -> None:
    case = load_case(name)
    model = build(case, monkeypatch, train={**case.config["opt"]["train"], "channels_last": channels_last})
    initial = {n: {k: v.clone() for k, v in net.state_dict().items()} for n, net in model.networks().items()}
    if model.average is not None:
        initial["g_ema"] = initial["g"]
    inject_alpha(case, model, monkeypatch)
    for iteration in case.config["current_iters"]:
        feed(case, model, iteration)
        model.optimize_parameters(iteration)
        check_logs(case, iteration, model.get_current_log())
    final: dict[str, Any] = {n: net.state_dict() for n, net in model.networks().items()}
    if model.average is not None:
        final["g_ema"] = model.average.state_dict()
    checked = {key.split("/")[0].removeprefix("out.") for key in case.info["outputs"] if not key.startswith("out.log")}
    for net_name in {name.removeprefix("digest.") for name in checked}:
        check_state(case, net_name, final[net_name], initial[net_name])


def check_logs(case: Case, iteration: int, logs: dict[str, float]) -> None:
    prefix = f"out.log/{iteration}/"
    expected = {key.removeprefix(prefix): key for key in case.arrays if key.startswith(prefix)}
    assert set(logs) == set(expected)
    for log, key in expected.items():
        if log not in case.info.get("unstable_logs", []):
            case.check(np.float64(logs[log]).reshape(case.arrays[key].shape), key)
