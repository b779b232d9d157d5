from __future__ import annotations

import threading

import torch

from basicsr.utils.seeding import flush_denormals


def test_denormals_become_zero_in_the_thread_that_asks():
    results: dict[str, float] = {}

    def compute() -> None:
        torch.set_flush_denormal(False)  # a thread begins as its parent is, and other tests train
        tiny = torch.tensor([1e-40])
        results["before"] = float(tiny * 0.5)
        flush_denormals()
        results["after"] = float(tiny * 0.5)

    thread = threading.Thread(target=compute)
    thread.start()
    thread.join()
    assert results["before"] > 0 and results["after"] == 0
