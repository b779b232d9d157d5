"""A tiny run on a GPU, with everything that only a GPU uses (`pytest -m gpu`)."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from tiny_run import close_log_files, write_options

from basicsr import train

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")]


def test_a_resumed_run_ends_in_the_same_bits(tmp_path: Path) -> None:
    weights = []
    for name, steps in (("whole", (10,)), ("resumed", (6, 10))):
        root = tmp_path / name
        root.mkdir()
        file = write_options(root, num_gpu=1, deterministic=True)
        loader = ["datasets:train:prefetch_mode=cuda", "datasets:train:pin_memory=true"]
        for total in steps:
            argv = ["-opt", str(file), "--auto_resume", "--force_yml", *loader, f"train:total_iter={total}"]
            assert train.main(argv, root) == 0
            close_log_files()
            (root / "experiments/tiny/summary.json").rename(root / f"summary_{total}.json")
        weights.append(torch.load(root / "experiments/tiny/models/net_g_latest.pth", weights_only=True))
        assert len(json.loads((root / "summary_10.json").read_text())) == 3
    for key in ("params", "params_ema"):
        assert all(torch.equal(weights[0][key][name], weights[1][key][name]) for name in weights[0][key])
