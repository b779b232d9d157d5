"""A data set and a model as packages on BasicSR 1.4.2 write them: they draw from whatever stream is at hand."""

from __future__ import annotations

import random

import numpy as np
import torch
from torch.utils import data

from basicsr.data.data_util import paths_from_folder
from basicsr.data.transforms import augment
from basicsr.models.sr_model import SRModel
from basicsr.utils import FileClient, imfrombytes, img2tensor
from basicsr.utils.registry import DATASET_REGISTRY, MODEL_REGISTRY


@DATASET_REGISTRY.register()
class NoisyDataset(data.Dataset):
    """Pairs made of GT: a random crop, flipped, reduced by four, with noise and an offset."""

    def __init__(self, opt):
        super().__init__()
        self.opt = opt
        self.file_client = None
        self.io_backend_opt = opt["io_backend"]
        self.paths = sorted(paths_from_folder(opt["dataroot_gt"]))
        random.shuffle(self.paths)

    def __getitem__(self, index):
        if self.file_client is None:
            self.file_client = FileClient(self.io_backend_opt.pop("type"), **self.io_backend_opt)
        path = self.paths[index]
        gt = imfrombytes(self.file_client.get(path, "gt"), float32=True)
        top, left = (random.randint(0, side - 32) for side in gt.shape[:2])
        gt = augment(gt[top : top + 32, left : left + 32], self.opt.get("use_hflip", True), True)
        lq = gt.reshape(8, 4, 8, 4, 3).mean((1, 3)) + np.random.normal(0, 0.05, (8, 8, 3))  # noqa: NPY002
        gt, lq = img2tensor([gt, lq.astype(np.float32)], bgr2rgb=True, float32=True)
        return {"lq": lq + 0.1 * torch.rand(1), "gt": gt, "gt_path": path, "lq_path": path}

    def __len__(self):
        return len(self.paths)


@MODEL_REGISTRY.register()
class DrawingModel(SRModel):
    """Adds noise in the step and in validation."""

    def feed_data(self, batch):
        super().feed_data(batch)
        self.lq = self.lq + 0.01 * torch.randn_like(self.lq) * random.random()

    def test(self):
        super().test()
        self.output = self.output + 0.05 * np.random.rand()  # noqa: NPY002
