"""Parts of one's own, one file each, used by one option file: checked, trained, killed, resumed and tested."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tiny_run import PROJECT, write_images

from basicsr.options.imports import import_parts
from basicsr.utils.errors import UserError

PARTS = {
    "view": '''
import torch
from torch import Tensor, nn
from basicsr.utils.registry import VIEW_REGISTRY


@VIEW_REGISTRY.register()
class WaveletHighBands(nn.Module):
    """The three high bands of a Haar transform on channels, (B, 3C, H / 2, W / 2)."""

    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        self.gain = gain

    def forward(self, images: Tensor) -> Tensor:
        a, b, c, d = (images[..., i::2, j::2] for i in (0, 1) for j in (0, 1))
        bands = (a - b + c - d, a + b - c - d, a - b - c + d)
        return self.gain * torch.cat(bands, 1) / 2
''',
    "loss": '''
from torch import Tensor, nn
from basicsr.utils.registry import LOSS_REGISTRY


@LOSS_REGISTRY.register()
class LumaLoss(nn.Module):
    """Distance between channel means."""

    def __init__(self, loss_weight: float = 1.0) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def forward(self, pred: Tensor, target: Tensor) -> Tensor:
        return self.loss_weight * (pred.mean(1) - target.mean(1)).abs().mean()
''',
    "degradation": '''
import torch
import torch.nn.functional as F
from basicsr.degradation import Degradation
from basicsr.utils.batch import Batch
from basicsr.utils.fields import PositiveInt, Probability
from basicsr.utils.registry import DEGRADATION_REGISTRY


@DEGRADATION_REGISTRY.register()
class Speckle(Degradation):
    """Area reduction and multiplicative noise."""

    needs = {"gt"}

    def __init__(self, *, scale: PositiveInt, gt_size: PositiveInt | None = None, strength: Probability = 0.1) -> None:
        self.scale, self.gt_size, self.strength = scale, gt_size, strength

    def __call__(self, batch, generator: torch.Generator) -> Batch:
        gt = batch["gt"][..., : self.gt_size, : self.gt_size].contiguous()
        lq = F.avg_pool2d(gt, self.scale)
        noise = torch.randn(lq.shape, generator=generator).to(lq)
        return Batch(gt, (lq * (1 + self.strength * noise)).clamp(0, 1))
''',
    "metric": '''
import numpy as np
from basicsr.utils.registry import METRIC_REGISTRY


@METRIC_REGISTRY.register()
def mean_error(img, img2, crop_border: int = 0, **kwargs) -> float:
    """Mean absolute difference of 8-bit images."""
    if crop_border:
        img, img2 = (x[crop_border:-crop_border, crop_border:-crop_border] for x in (img, img2))
    return float(np.abs(img.astype(float) - img2.astype(float)).mean())
''',
    "arch": '''
from torch import Tensor, nn
from basicsr.utils.registry import ARCH_REGISTRY


@ARCH_REGISTRY.register()
class OneConv(nn.Module):
    """A convolution and a pixel shuffle."""

    def __init__(self, channels: int = 3, upscale: int = 4) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, channels * upscale**2, 3, 1, 1), nn.PixelShuffle(upscale))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x)
''',
    "data": '''
from pathlib import Path
import cv2
import torch
from torch.utils.data import Dataset
from basicsr.utils.fields import PositiveInt, Section
from basicsr.utils.registry import DATASET_REGISTRY
from pydantic import Field


class FolderOptions(Section):
    name: str | None = None
    phase: str = "train"
    scale: int | None = None
    seed: int = 0
    dataroot_gt: str = Field(description="Folder of images.")
    crop: PositiveInt = 32
    """Side of the corner
    that is used."""
    batch_size_per_gpu: PositiveInt = 1
    num_worker_per_gpu: int = 0


@DATASET_REGISTRY.register()
class CornerDataset(Dataset):
    """The corner of every image of a folder."""

    Options = FolderOptions
    provides = {"gt"}

    def __init__(self, opt) -> None:
        self.opt = opt
        self.crop = opt.get("crop", 32)
        self.files = sorted(Path(opt["dataroot_gt"]).glob("*.png"))

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> dict:
        image = cv2.imread(str(self.files[index]))[: self.crop, : self.crop, ::-1].copy()
        return {"gt": torch.from_numpy(image).permute(2, 0, 1).float() / 255, "gt_path": str(self.files[index])}
''',
}
"""One file each; the view, loss, degradation, metric, architecture and data set of a user."""

OPTIONS = """
imports: [my_view.py, my_loss.py, my_degradation.py, my_metric.py, my_arch.py, my_data.py]
name: own
scale: 4
num_gpu: 0
manual_seed: 1
datasets:
  train:
    type: CornerDataset
    dataroot_gt: data/HR
    crop: 32
    batch_size_per_gpu: 2
  val:
    type: PairedImageDataset
    dataroot_gt: data/HR
    dataroot_lq: data/LR
network_g: {type: OneConv, channels: 3}
degradation: {type: Speckle, gt_size: 32, strength: 0.2}
objective: {type: RelativisticAverage, criterion: {type: GANLoss, gan_type: vanilla, loss_weight: 0.01}}
critics:
  d:
    network: {type: UNetDiscriminatorSN, num_in_ch: 3, num_feat: 4}
    optimizer: {type: Adam, lr: 0.001}
  wavelet_d:
    view: {type: WaveletHighBands, gain: 2.0}
    network: {type: UNetDiscriminatorSN, num_in_ch: 9, num_feat: 4}
    optimizer: {type: Adam, lr: 0.001}
losses:
  pix: {type: L1Loss}
  luma: {type: LumaLoss, loss_weight: 0.5}
train:
  total_iter: 24
  ema_decay: 0.9
  optim_g: {type: Adam, lr: 0.001}
  scheduler: {type: MultiStepLR, milestones: [8]}
val:
  val_freq: 100
  metrics:
    error: {type: mean_error, crop_border: 2, better: lower}
logger: {print_freq: 1, save_checkpoint_freq: 4, use_tb_logger: false}
"""

TYPOS = {
    "critics.wavelet_d.view.gian": ("gain: 2.0", "gian: 2.0", "gain"),
    "losses.luma.loss_wieght": ("loss_weight: 0.5", "loss_wieght: 0.5", "loss_weight"),
    "degradation.strenght": ("strength: 0.2", "strenght: 0.2", "strength"),
    "val.metrics.error.crop_boarder": ("crop_border: 2", "crop_boarder: 2", "crop_border"),
    "network_g.chanels": ("channels: 3", "chanels: 3", "channels"),
    "datasets.train.corp": ("crop: 32", "corp: 32", "crop"),
}


def prepare(root: Path) -> Path:
    write_images(root / "data", 5, 40)
    for name, text in PARTS.items():
        (root / f"my_{name}.py").write_text(text)
    file = root / "own.yml"
    file.write_text(OPTIONS)
    return file


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "basicsr.cli", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=root, env=environment, text=True, stdout=pipe, stderr=pipe, start_new_session=True
    )


def run(root: Path, *arguments: str, code: int = 0) -> str:
    process = start(root, *arguments)
    output, errors = process.communicate(timeout=240)
    assert process.returncode == code, output + errors
    return output + errors


def test_each_part_s_own_options_are_checked_with_line_and_nearest_name(tmp_path: Path) -> None:
    file = prepare(tmp_path)
    text = OPTIONS
    for right, wrong, _ in TYPOS.values():
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    file.write_text(text)
    shown = run(tmp_path, "train", "-opt", "own.yml", code=2)
    assert f"{len(TYPOS)} problems in own.yml" in shown
    lines = text.splitlines()
    for path, (_, wrong, near) in TYPOS.items():
        line = 1 + next(index for index, content in enumerate(lines) if wrong in content)
        assert f"{path}: unknown key; did you mean {near}? (line {line})" in shown, shown


@pytest.mark.faults
def test_own_parts_train_are_killed_resume_to_the_same_bits_test_and_score(tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    for root in (whole, killed):
        root.mkdir()
        prepare(root)
    run(whole, "train", "-opt", "own.yml")

    # Kill a run behind its second checkpoint, lose the user's files, and go on with the copies that the run keeps.
    process = start(killed, "train", "-opt", "own.yml")
    deadline = time.monotonic() + 240
    while not (killed / "experiments/own/training_states/8.state").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.005)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    for file in killed.glob("my_*.py"):
        file.unlink()
    run(killed, "train", "-opt", "own.yml", "--auto_resume")
    for name in ("net_g", "net_d", "net_wavelet_d"):
        weights = [torch.load(root / f"experiments/own/models/{name}_latest.pth") for root in (whole, killed)]
        for key, tensor in weights[0]["params"].items():
            assert torch.equal(tensor, weights[1]["params"][key]), f"{name} {key}"

    test = yaml.safe_load(OPTIONS)
    test |= {"name": "own_test", "path": {"pretrain_network_g": "experiments/own/models/net_g_latest.pth"}}
    test["datasets"] = {"test_1": test["datasets"]["val"]}
    for key in ("critics", "objective", "losses", "degradation", "train", "logger"):
        del test[key]
    (whole / "test.yml").write_text(yaml.safe_dump(test))
    run(whole, "test", "-opt", "test.yml")
    assert "error" in (whole / "results/own_test/metrics.csv").read_text().splitlines()[0]

    shown = run(killed, "score", "data/HR", "-m", "experiments/own", "--critics", "wavelet_d", "--output", "scores")
    assert "wavelet_d" in shown


@pytest.mark.slow
def test_own_parts_are_documented(tmp_path: Path) -> None:
    prepare(tmp_path)
    shown = run(tmp_path, "options", "-opt", "own.yml", "views", "degradations")
    assert "`WaveletHighBands`: The three high bands of a Haar transform on channels" in shown
    assert "| `strength` | number ≥ 0, ≤ 1 | `0.1` |" in shown
    shown = run(tmp_path, "options", "-opt", "own.yml", "datasets")
    assert "| `dataroot_gt` | text | needed | Folder of images. |" in shown
    assert "| `crop` | integer > 0 | `32` | Side of the corner that is used. |" in shown
    assert '"WaveletHighBands"' in run(tmp_path, "options", "-opt", "own.yml", "--schema")


@pytest.mark.slow
def test_examples_of_the_page_register_documented_parts_and_train(tmp_path: Path) -> None:
    page = (PROJECT / "docs/extend.md").read_text(encoding="utf-8")
    *parts, script = re.findall(r"```python\n(.*?)```", page, re.S)
    (tmp_path / "my_parts.py").write_text("\n".join(parts))
    (tmp_path / "script.py").write_text(script)
    (tmp_path / "own.yml").write_text(re.findall(r"```yaml\n(.*?)```", page, re.S)[-1])
    names = re.findall(r"^class (\w+)", "\n".join(parts), re.M)
    assert len(names) >= 7
    shown = run(tmp_path, "options", "--import", "my_parts.py")
    for name in names:
        assert f"`{name}`" in shown or name.endswith("Model")  # models are found by name and have no options

    (tmp_path / "arrays").mkdir()
    for index in range(8):
        np.save(tmp_path / f"arrays/{index}.npy", np.random.default_rng(index).integers(0, 256, (64, 64, 3), np.uint8))
    command = [sys.executable, "script.py", "--force_yml", "train:total_iter=2", "val:val_freq=2", "num_gpu=0"]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT), "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=240)
    assert ended.returncode == 0, ended.stderr
    assert "mean absolute difference, 4 px cropped" in ended.stderr + ended.stdout
    summary = json.loads((tmp_path / "experiments/own/summary.json").read_text())
    assert len(summary) == 8 and all(0 < methods["net_g"]["error"] < 255 for methods in summary.values())
    assert {file.name for file in (tmp_path / "experiments/own/models").glob("*_latest.pth")} == {
        "net_g_latest.pth",
        "net_d_latest.pth",
        "net_wavelet_d_latest.pth",
    }


@pytest.mark.parametrize(("name", "message"), [("no.py", r"there is no no\.py"), ("broken.py", "SyntaxError")])
def test_imports_that_cannot_be_loaded_are_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "broken.py").write_text("def (")
    with pytest.raises(UserError, match=message):
        import_parts([name], tmp_path / "own.yml")
