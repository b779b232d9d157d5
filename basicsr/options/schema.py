"""The closed schema of an option file: every key that is not an argument of a registered class.

The schema knows names, types, ranges and defaults. What a ``type:`` block may contain is known by the class that it
names (:mod:`basicsr.options.resolve`); what has to fit together is checked in :mod:`basicsr.options.consistency`.
No key is required here, so that one missing key does not hide other mistakes.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PlainValidator, Tag

from basicsr.options.schema_train import Train
from basicsr.utils.fields import (
    Accepts,
    Block,
    Count,
    Distribution,
    Integer,
    JpegRange,
    PositiveInt,
    PositiveRange,
    Probability,
    Range,
    Section,
    option,
)

_DERIVED = "the frame computes it"


def _check_num_gpu(value: Any) -> Any:
    whole = isinstance(value, float) and value.is_integer()
    count = int(value) if whole else value
    if value == "auto" or (isinstance(count, int) and not isinstance(count, bool) and count >= 0):
        return count
    raise ValueError("expected auto, 0 (CPU) or the number of GPUs")


NumGpu = Annotated[Any, PlainValidator(_check_num_gpu), Accepts("auto or integer ≥ 0")]


class DegradationKeys(Section):
    """What the degradation models draw; published files write these keys at the top level."""

    gt_size: PositiveInt | None = option(None, "Side in pixels of the GT crop that is trained on.")
    queue_size: PositiveInt | None = option(
        None, "Pairs in the pool that mixes degradations within a batch; divisible by the batch size. Absent: no pool."
    )
    resize_prob: Distribution | None = option(None, "Probabilities of [up, down, keep] in the first resize.")
    resize_range: PositiveRange | None = option(None, "Smallest and largest factor of the first resize.")
    gaussian_noise_prob: Probability | None = option(None, "Probability that noise is Gaussian; else it is Poisson.")
    noise_range: Range | None = option(None, "Smallest and largest σ of Gaussian noise, in levels of 255.")
    poisson_scale_range: Range | None = option(None, "Smallest and largest scale of Poisson noise.")
    gray_noise_prob: Probability | None = option(None, "Probability that noise is the same in all channels.")
    jpeg_range: JpegRange | None = option(None, "Lowest and highest JPEG quality.")
    second_blur_prob: Probability | None = option(None, "Probability of the second blur.")
    resize_prob2: Distribution | None = option(None, "`resize_prob` of the second round.")
    resize_range2: PositiveRange | None = option(None, "`resize_range` of the second round.")
    gaussian_noise_prob2: Probability | None = option(None, "`gaussian_noise_prob` of the second round.")
    noise_range2: Range | None = option(None, "`noise_range` of the second round.")
    poisson_scale_range2: Range | None = option(None, "`poisson_scale_range` of the second round.")
    gray_noise_prob2: Probability | None = option(None, "`gray_noise_prob` of the second round.")
    jpeg_range2: JpegRange | None = option(None, "`jpeg_range` of the second round.")


class Degradation(DegradationKeys):
    """The degradation keys as a section of their own, with what published files do not have."""

    gate: Literal["batch", "sample"] | None = option(
        None, "Draw once per batch (published; use a pool) or for each image (no pool).", implied="batch"
    )


class Path(Section):
    """Weights to start from and where results go."""

    pretrain_network_g: str | None = option(None, "Weights of the generator to start from, or to test.")
    pretrain_network_d: str | None = option(None, "Weights of the critic of images to start from.")
    pretrain_network_spectral_d: str | None = option(None, "Weights of the critic of spectra to start from.")
    pretrain_network_grad_d: str | None = option(None, "Weights of the critic of gradient maps to start from.")
    strict_load_g: bool = option(True, "Whether names and shapes must all fit.")
    strict_load_d: bool | None = option(None, "The same for the critic of images.", implied=True)
    strict_load_spectral_d: bool | None = option(None, "The same for the critic of spectra.", implied=True)
    strict_load_grad_d: bool | None = option(None, "The same for the critic of gradient maps.", implied=True)
    param_key_g: str | None = option(
        None, "`params` or `params_ema` in the weights file; absent: `params` to train from, `params_ema` to test."
    )
    param_key_d: str | None = option(None, "The same for the critic of images.")
    param_key_spectral_d: str | None = option(None, "The same for the critic of spectra.")
    param_key_grad_d: str | None = option(None, "The same for the critic of gradient maps.")
    resume_state: str | None = option(None, "A `training_states/*.state` file to go on from.")
    experiments_root: str | None = option(None, "Parent folder of training runs; absent: `experiments`.")
    results_root: str | None = option(None, "Parent folder of test results; absent: `results`.")
    ignore_resume_networks: list[str] | None = option(
        None, "Carried by published files.", unused="a resumed run restores every network"
    )
    root: str | None = option(None, "The project folder.", unused=_DERIVED)
    models: str | None = option(None, "Where network weights are written.", unused=_DERIVED)
    training_states: str | None = option(None, "Where checkpoints are written.", unused=_DERIVED)
    log: str | None = option(None, "Where logs are written.", unused=_DERIVED)
    visualization: str | None = option(None, "Where images are written.", unused=_DERIVED)


class Tile(Section):
    """``val.tile`` as a block."""

    size: PositiveInt | None = option(None, "The same as `tile: N`.")
    overlap: Count | None = option(None, "The same as `tile_overlap`.")


def _tile_form(value: Any) -> str:
    return "block" if isinstance(value, dict) else "size"


TileOption = Annotated[
    Annotated[PositiveInt, Tag("size")] | Annotated[Tile, Tag("block")],
    Discriminator(_tile_form),
    Accepts("integer > 0, or a block"),
]


class Val(Section):
    """How the generator is validated and tested."""

    val_freq: PositiveInt = option(5000, "Iterations between validations.")
    save_img: bool = option(False, "Write every generated image.")
    suffix: str | None = option(None, "Ending of the written images' names; absent: the run's name when testing.")
    metrics: dict[str, Block | None] | None = option(
        None,
        "`NAME: {type, …}`: metrics by names of your choice; `better: higher|lower` beside each metric's arguments.",
    )
    pbar: bool = option(True, "Show a progress bar.")
    tile: TileOption | None = option(
        None,
        "Side in LQ pixels of the tiles that a large image is split into, to bound memory; absent: whole images.",
    )
    tile_overlap: Count = option(16, "LQ pixels by which neighbouring tiles overlap.")
    use_ema: bool = option(True, "Validate the generator's running average where there is one.")
    spectra: bool = option(
        False,
        "While training: log the spectral distance, the radial profile against GT and each critic's accuracy on "
        "real and generated images, see `docs/train.md`.",
    )
    baseline: Literal["bicubic"] | None = option(
        "bicubic", "Method that tests and the end of training compare with; `~`: none."
    )


class Wandb(Section):
    """Weights & Biases; needs ``pip install basicsr[wandb]``."""

    project: str | None = option(None, "Project to log to; absent: no logging there.")
    resume_id: str | None = option(None, "Run to go on with.")


class Logger(Section):
    """What is logged and saved, and how often."""

    print_freq: PositiveInt = option(100, "Iterations between log lines.")
    save_checkpoint_freq: PositiveInt = option(5000, "Iterations between checkpoints.")
    use_tb_logger: bool = option(True, "Write TensorBoard events under `tb_logger/<name>`.")
    wandb: Wandb | None = option(None, "Weights & Biases.")
    keep_states: PositiveInt | None = option(None, "Keep only that many of the latest checkpoints; absent: all.")


class DistParams(Section):
    """Training on several devices."""

    backend: Literal["nccl", "gloo", "mpi", "ucc"] | None = option(
        None, "Communication library; absent: NCCL on GPUs, gloo without."
    )
    port: Annotated[Integer, Field(ge=1, le=65535)] | None = option(None, "Port of rank 0 (`--launcher slurm`).")
    timeout: Annotated[float, Field(gt=0)] = option(
        30.0, "Minutes that a process waits for the others before the run ends with an error."
    )


class Frame(DegradationKeys):
    """An option file."""

    name: str | None = option(None, "Name of the run and of its folders. One that contains `debug` runs in debug mode.")
    model_type: str | None = option(None, "Which recipe: a registered model.")
    scale: PositiveInt | None = option(None, "Factor between GT and LQ sizes.")
    num_gpu: NumGpu = option("auto", "GPUs to use; `0`: the CPU; `auto`: those that are there.")
    manual_seed: Count = option(0, "Seed of everything random; the same seed gives the same run.")

    datasets: dict[str, Block | None] | None = option(
        None, "`train`, `val`, `val_1` … and `test_1` …: each a data set's `type` and its options."
    )
    network_g: Block | None = option(None, "The generator: `type` and the constructor's arguments.")
    network_d: Block | None = option(None, "The critic of images.")
    net_spectral_d: Block | None = option(None, "The critic of spectra.")
    net_grad_d: Block | None = option(None, "The critic of gradient maps.")

    path: Path | None = option(None, "Weights and folders.")
    train: Train | None = option(None, "Training.")
    val: Val | None = option(None, "Validation and testing.")
    logger: Logger | None = option(None, "Logging and checkpoints.")
    dist_params: DistParams | None = option(None, "Training on several devices.")
    degradation: Degradation | None = option(
        None, "The degradation keys, here instead of at the top level, and `gate`."
    )

    l1_gt_usm: bool | None = option(None, "Pixel losses compare with the sharpened GT.", implied=True)
    percep_gt_usm: bool | None = option(None, "The perceptual loss compares with the sharpened GT.", implied=True)
    gan_gt_usm: bool | None = option(None, "Critics see the sharpened GT.", implied=False)
    high_order_degradation: bool | None = option(
        None, "Carried by published files.", unused="model_type and the data set say whether LQ is made or read"
    )

    dist_val: bool = option(True, "Share the validation images among ranks.")
    deterministic: bool = option(False, "Equal bits in equal runs on a GPU too, at some cost in speed.")
    find_unused_parameters: bool = option(False, "For networks that do not use all parameters in every iteration.")
    auto_clean: bool | None = option(None, "Carried by published files.", unused="no checkpoint is removed by itself")
    is_train: bool | None = option(None, "Whether the file is trained.", unused=_DERIVED)
    dist: bool | None = option(None, "Whether several processes train.", unused=_DERIVED)
    rank: int | None = option(None, "Number of this process.", unused=_DERIVED)
    world_size: int | None = option(None, "Number of processes.", unused=_DERIVED)
    root_path: str | None = option(None, "The project folder.", unused=_DERIVED)
    auto_resume: bool | None = option(None, "Whether to go on from the latest checkpoint.", unused=_DERIVED)


NETWORKS = {"g": "network_g", "d": "network_d", "spectral_d": "net_spectral_d", "grad_d": "net_grad_d"}
"""Option key of each network by its short name, as in ``optim_{name}``, ``pretrain_network_{name}``."""

LOSSES = ("pixel_opt", "perceptual_opt", "ldl_opt", "bp_opt", "pix_grad_opt", "pix_branch_opt", "gan_opt")
"""Keys of ``train`` that hold a loss."""
