"""Batches of loading processes come in one piece of memory."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

from basicsr.data import build_dataloader, collate_samples


class Samples(Dataset):
    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> dict:
        image = torch.full((3, 5, 7), float(index))
        return {"gt": image, "kernel": image[0].double(), "path": f"{index}.png", "number": index, "failed": ""}


def test_tensors_of_a_batch_share_one_piece_of_memory_and_hold_the_samples() -> None:
    block = {"phase": "train", "batch_size_per_gpu": 2, "num_worker_per_gpu": 1}
    loader = build_dataloader(Samples(), block, sampler=[3, 1, 0, 2])
    batches = list(loader)
    loader.close()
    for batch, indices in zip(batches, [(3, 1), (0, 2)], strict=True):
        expected = collate_samples([Samples()[index] for index in indices])
        assert batch.keys() == expected.keys()
        assert batch["path"] == expected["path"]
        for key in ("gt", "kernel", "number"):
            assert torch.equal(batch[key], expected[key])
            assert batch[key].dtype == expected[key].dtype
            assert batch[key].is_contiguous()
        assert batch["gt"].untyped_storage().data_ptr() == batch["kernel"].untyped_storage().data_ptr()
