"""The text of an option file for a folder of photographs, with the reason of each choice beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

import yaml

from basicsr.starting.plan import Machine, Plan
from basicsr.utils.errors import count

PUBLISHED_POOL = 180
"""Pairs in the pool of the published second-order recipes."""

_KERNELS = """\
blur_kernel_size{n}: 21
kernel_list{n}: [iso, aniso, generalized_iso, generalized_aniso, plateau_iso, plateau_aniso]
kernel_prob{n}: [0.45, 0.25, 0.12, 0.03, 0.12, 0.03]
sinc_prob{n}: 0.1
blur_sigma{n}: {sigma}
betag_range{n}: [0.5, 4]
betap_range{n}: [1, 2]
"""

_DEGRADATION = """
# What is done to a patch to make the input of it, as Real-ESRGAN's recipes do (arXiv 2107.10833): twice blur, resize,
# noise and JPEG. Lower the ranges if your pictures are better than that; restored pictures are smoother the more of it
# the network has to undo.
degradation:
  type: SecondOrder
  gt_size: {gt_size}
  queue_size: {queue_size}  # pairs that are kept to mix degradations within a batch; a multiple of the batch size
  l1_gt_usm: true  # the pixel loss compares with the sharpened photograph
  gan_gt_usm: false
  resize_prob: [0.2, 0.7, 0.1]  # up, down, keep
  resize_range: [0.15, 1.5]
  gaussian_noise_prob: 0.5
  noise_range: [1, 30]  # levels of 255
  poisson_scale_range: [0.05, 3]
  gray_noise_prob: 0.4
  jpeg_range: [30, 95]
  second_blur_prob: 0.8
  resize_prob2: [0.3, 0.4, 0.3]
  resize_range2: [0.3, 1.2]
  gaussian_noise_prob2: 0.5
  noise_range2: [1, 25]
  poisson_scale_range2: [0.05, 2.5]
  gray_noise_prob2: 0.4
  jpeg_range2: [30, 95]
"""

_OBJECTIVE = """
# DualFormer: a critic of images and one of the power spectrum of every 32x32 patch. gt_size must stay 128.
objective:
  type: RelativisticAverage
  criterion:
    type: GANLoss
    gan_type: vanilla
    loss_weight: 2.0e-2  # more: sharper, and more invented

critics:
  d:
    network: &swin
      type: SwinTransformer
      img_size: 128
      patch_size: 32
      num_classes: 1
      embed_dim: 96
      depths: [8, 2]
      num_heads: [3, 6]
      window_size: 4
      in_chans: 3
    optimizer: &critic_adam {{type: Adam, lr: {lr}, betas: [0.9, 0.99]}}
  spectral_d:
    view:
      type: PatchwiseSpectrum
      patch_size: 32
      fix_normalize: true  # each patch by its own extremes
    network: *swin
    optimizer: *critic_adam
"""

_SECOND_STAGE = """
# Sharper pictures: DualFormer's critics add the detail that a pixel loss leaves out, at little cost in PSNR. They learn
# best on a network that makes good pictures already, so first train this one; then write a second file, and train it:
#   {second_stage}
"""


@dataclass(frozen=True)
class Recipe:
    """What an option file for photographs says.

    Attributes:
        name: Of the run.
        scale: Output pixels per input pixel.
        kind: ``clean`` or ``real``.
        objective: ``pixel`` or ``dualformer``.
        plan: Sizes.
        machine: For which the sizes are.
        root: Folder of what is trained on.
        train_list: The list of it.
        held_out: Folder of ``HR`` and ``LQ``.
        runs: Folder of runs.
        start: Weights that the network begins with.
        start_note: What these are.
        network: The generator's block.
        counts: Numbers of pictures that are trained on, held out, and left out.
        images: Number of images that are trained on: pictures, or what they were cut into.
        notes: Further lines at the top.
        commands: Command lines by what they do.
        second_stage: The command line that writes a file with critics.
    """

    name: str
    scale: int
    kind: str
    objective: str
    plan: Plan
    machine: Machine
    root: Path
    train_list: Path
    held_out: Path
    runs: Path
    start: str
    start_note: str
    network: Mapping[str, Any]
    counts: tuple[int, int, int]
    images: int
    notes: list[str]
    commands: dict[str, str]
    second_stage: str


def quote(value: object) -> str:
    """A path or name as YAML has it, whatever is in it; JSON's strings are YAML's."""
    return json.dumps(str(value), ensure_ascii=not str(value).isprintable())


def write_photos_file(recipe: Recipe) -> str:
    """The option file's text; see :class:`Recipe`."""
    parts = [_head(recipe), _datasets(recipe)]
    if recipe.kind == "real":
        queue = recipe.plan.batch * (PUBLISHED_POOL // recipe.plan.batch)
        parts.append(_DEGRADATION.format(gt_size=recipe.plan.gt_size, queue_size=queue))
    parts.append(_network(recipe))
    if recipe.objective == "dualformer":
        parts.append(_OBJECTIVE.format(lr=recipe.plan.lr))
    parts.append(_training(recipe))
    if recipe.objective == "pixel":
        parts.append(_SECOND_STAGE.format(second_stage=recipe.second_stage))
    return "".join(parts)


def _head(recipe: Recipe) -> str:
    trained, held_out, left_out = recipe.counts
    inputs = {"clean": "made smaller by bicubic reduction", "real": "made smaller, blurred, noisy and JPEG-coded"}
    lines = [
        f"Enlarges ×{recipe.scale}, trained on your own photographs, {inputs[recipe.kind]}.",
        f"{count(trained, 'picture')} to train on, {held_out} held out, {left_out} left out:",
        f"  {quote(recipe.train_list.parent / 'record.json')} lists all of them, with the reasons.",
        *recipe.notes,
        "",
        *(f"{what}: {command}" for what, command in recipe.commands.items()),
    ]
    comment = "\n".join(f"# {line}".rstrip() for line in lines)
    gpu = "auto  # 0: CPU" if recipe.machine.device == "cuda" else "0  # written for the processor; auto: a GPU"
    return f"{comment}\nname: {quote(recipe.name)}\nscale: {recipe.scale}\nnum_gpu: {gpu}\nmanual_seed: 0\n"


def _datasets(recipe: Recipe) -> str:
    plan, machine = recipe.plan, recipe.machine
    free = f"{machine.memory / 2**30:.0f} GiB of memory free"
    if machine.device == "cuda":
        free += f", {machine.device_memory / 2**30:.0f} GiB on it"
    source = "PairedImageDataset  # LQ is made by bicubic reduction"
    extra = ""
    if recipe.kind == "real":
        source = "RealESRGANDataset  # photographs and three filters each; `degradation` makes LQ of them"
        kernels = _KERNELS.format(n="", sigma="[0.2, 3]") + _KERNELS.format(n="2", sigma="[0.2, 1.5]")
        extra = f"    crop_pad_size: {plan.crop_pad_size}  # what is degraded, before gt_size is cut from it\n"
        extra += indent(f"{kernels}final_sinc_prob: 0.8\n", "    ")
    ratio = max(1, round(1000 * plan.batch / recipe.images))
    return f"""
# Sizes are for {machine.name}, {free}.
datasets:
  train:
    name: photographs
    type: {source}
    dataroot_gt: {quote(recipe.root)}
    meta_info_file: {quote(recipe.train_list)}
    # Side of a patch in pixels; larger ones show more at once and cost its square.
    gt_size: {plan.gt_size}
{extra}    use_hflip: true
    use_rot: true
    # Patches in a step: the largest of 2, 4, 8 … that half of the free memory takes, and that is worth its time here.
    # Halve it if memory runs out.
    batch_size_per_gpu: {plan.batch}
    # Loading processes: a core is left to the training, and a third of the free memory holds them.
    num_worker_per_gpu: {plan.workers}
    dataset_enlarge_ratio: {ratio}  # an epoch is about 1,000 steps
    max_failed_share: 0.05  # of the pictures may turn out to be damaged

  val:  # pieces of the pictures that are held out, and LQ made of them once
    name: held_out
    type: PairedImageDataset
    dataroot_gt: {quote(recipe.held_out / "HR")}
    dataroot_lq: {quote(recipe.held_out / "LQ")}
"""


def _network(recipe: Recipe) -> str:
    block = yaml.safe_dump(dict(recipe.network), sort_keys=False, allow_unicode=True)
    return f"""
network_g:
{indent(block, "  ")}
path:
  # {recipe.start_note}
  pretrain_network_g: {quote(recipe.start)}
  param_key_g: params_ema  # the average, where the file has one
  experiments_root: {quote(recipe.runs)}  # the run is a folder in it
"""


def _training(recipe: Recipe) -> str:
    plan = recipe.plan
    total = plan.total_iter
    milestones = [total * part // 100 for part in (50, 75, 90)]
    return f"""
losses:
  pix:
    type: L1Loss
    loss_weight: 1.0

train:
  # The longer, the better. Pictures are worth a look after a tenth of it; stop with Ctrl-C, go on with --auto_resume.
  total_iter: {total}
  warmup_iter: 100
  ema_decay: 0.99  # the average of about 100 steps is what is measured and used
  optim_g: {{type: Adam, lr: {plan.lr}, betas: [0.9, 0.99]}}
  scheduler:
    type: MultiStepLR
    milestones: {milestones}  # half, three quarters and nine tenths of total_iter
    gamma: 0.4

val:
  val_freq: {total // 10}
  save_img: true  # in visualization/ of the run
  metrics:
    psnr_y:
      type: calculate_psnr
      crop_border: {recipe.scale}
      test_y_channel: true
    spectral_distance:
      type: calculate_spectral_distance  # in dB, between radial log power spectra
      crop_border: {recipe.scale}
      better: lower

logger:
  print_freq: 50
  save_checkpoint_freq: {total // 10}
  use_tb_logger: false  # true: curves for TensorBoard, in tb_logger/
"""
