"""One side of ``peers.py``: imports the ``basicsr`` of its import path and does what lines of JSON on stdin ask for.

All work is written with names that both packages publish. For BasicSR 1.4.2 alone, what no longer imports is put in
place first: a module that torchvision dropped, the version file that its build makes, and ``.cuda()`` without a GPU.
"""

from __future__ import annotations

import json
import os
import random
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import torchvision

GT = 480
GENERATOR = {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "num_feat": 32, "num_block": 6, "num_grow_ch": 16}
Work = tuple[Callable[[], list[float]], Callable[[], Any]]
"""What gives results to compare, and what is timed."""


def put_in_place() -> None:
    """What BasicSR 1.4.2 expects of its surroundings."""
    dropped: Any = types.ModuleType("torchvision.transforms.functional_tensor")
    dropped.rgb_to_grayscale = torchvision.transforms.functional.rgb_to_grayscale
    sys.modules["torchvision.transforms.functional_tensor"] = dropped
    version: Any = types.ModuleType("basicsr.version")
    version.__version__, version.__gitsha__ = "1.4.2", "unknown"
    sys.modules["basicsr.version"] = version
    if not torch.cuda.is_available():
        torch.nn.Module.cuda = lambda self, *_: self  # type: ignore[method-assign, assignment]
        torch.Tensor.cuda = lambda self, *_: self  # type: ignore[method-assign, assignment]
    from basicsr.models import realesrnet_model

    # It takes views that today's resampling, whose result may have channels last, no longer allows.
    given = realesrnet_model.filter2D
    realesrnet_model.filter2D = lambda image, kernel: given(image.contiguous(), kernel)


def make_data(folder: Path) -> str:
    """Pairs of smooth random pictures as PNG and as LMDB."""
    from basicsr.utils.lmdb_util import make_lmdb_from_imgs

    draws = np.random.default_rng(0)
    names = [f"{number:04d}" for number in range(16)]
    for kind in ("gt", "lq"):
        (folder / kind).mkdir()
    for name in names:
        coarse = [cv2.resize(draws.random((side, side, 3)), (GT, GT)) for side in (8, 60, 240, GT)]
        picture = (255 * np.clip(sum(coarse) / 2 - 0.5, 0, 1)).astype(np.uint8)
        cv2.imwrite(str(folder / f"gt/{name}.png"), picture)
        cv2.imwrite(str(folder / f"lq/{name}.png"), cv2.resize(picture, None, fx=0.25, fy=0.25, interpolation=3))
    for kind in ("gt", "lq"):
        files = [f"{name}.png" for name in names]
        make_lmdb_from_imgs(str(folder / kind), str(folder / f"{kind}.lmdb"), files, names)
    packages = {"torch": torch, "torchvision": torchvision, "numpy": np, "cv2": cv2}
    return ", ".join(f"{name} {package.__version__}" for name, package in packages.items())


def base_options(**changes: Any) -> dict[str, Any]:
    optimizer = {"type": "Adam", "lr": 1e-4, "weight_decay": 0, "betas": [0.9, 0.99]}
    train = {
        "ema_decay": 0.999,
        "optim_g": dict(optimizer),
        "optim_d": dict(optimizer),
        "scheduler": {"type": "MultiStepLR", "milestones": [10**6], "gamma": 0.5},
        "total_iter": 10**6,
        "warmup_iter": -1,
        "pixel_opt": {"type": "L1Loss", "loss_weight": 1e-2, "reduction": "mean"},
    }
    common = {"name": "peers", "scale": 4, "num_gpu": 0, "is_train": True, "dist": False, "rank": 0, "world_size": 1}
    paths = {"pretrain_network_g": None, "strict_load_g": True, "resume_state": None, "visualization": "pictures"}
    return {**common, "manual_seed": 0, "path": paths, "network_g": dict(GENERATOR), "train": train, **changes}


@torch.no_grad()
def fill(net: torch.nn.Module) -> None:
    """The same weights whichever package made the network: matrices and kernels are drawn by name, biases are 0."""
    draws = torch.Generator().manual_seed(0)
    for name, weight in sorted(net.named_parameters()):
        if name.endswith("bias"):
            weight.zero_()
        if weight.ndim > 1:
            weight.copy_(torch.randn(weight.shape, generator=draws) * (0.5 / weight[0].numel() ** 0.5))


def build(options: dict[str, Any]) -> Any:
    from basicsr.models import build_model

    model = build_model(options)
    for name in ("net_g", "net_g_ema", "net_d"):
        if hasattr(model, name):
            fill(getattr(model, name))
    return model


def esrgan_step(folder: Path) -> Work:
    options = base_options(model_type="ESRGANModel")
    options["network_d"] = {"type": "VGGStyleDiscriminator", "num_in_ch": 3, "num_feat": 64}
    options["train"]["gan_opt"] = {"type": "GANLoss", "gan_type": "vanilla", "loss_weight": 5e-3}
    options["train"] |= {"net_d_iters": 1, "net_d_init_iters": 0}
    model = build(options)
    gt = torch.rand(4, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    lq = torch.nn.functional.avg_pool2d(gt, 4)
    count = 0

    def step() -> None:
        nonlocal count
        count += 1
        model.feed_data({"lq": lq, "gt": gt})
        model.optimize_parameters(count)

    def check() -> list[float]:
        # Of one step: Adam's first makes much of gradients that are nearly zero.
        step()
        log = model.get_current_log()
        losses = [float(log[key]) for key in ("l_g_pix", "l_g_gan", "l_d_real", "l_d_fake", "out_d_real")]
        moments = [float(value.sum()) for name, value in model.net_d.state_dict().items() if "running" in name]
        return losses + moments

    return check, step


def degradation(folder: Path) -> Work:
    from basicsr.data import build_dataset

    blur = {
        "blur_kernel_size": 21,
        "kernel_list": ["iso", "aniso", "generalized_iso", "generalized_aniso", "plateau_iso", "plateau_aniso"],
        "kernel_prob": [0.45, 0.25, 0.12, 0.03, 0.12, 0.03],
        "sinc_prob": 0.1,
        "blur_sigma": [0.2, 3],
        "betag_range": [0.5, 4],
        "betap_range": [1, 2],
    }
    blur |= {f"{key}2": value for key, value in blur.items()} | {"blur_sigma2": [0.2, 1.5], "final_sinc_prob": 0.8}
    data = {"name": "gt", "type": "RealESRGANDataset", "dataroot_gt": str(folder / "gt"), "phase": "train"}
    (folder / "meta.txt").write_text("".join(f"{number:04d}.png\n" for number in range(16)))
    data |= {"meta_info": str(folder / "meta.txt"), "io_backend": {"type": "disk"}, "use_hflip": True, "use_rot": False}
    dataset = build_dataset({**data, "gt_size": 256, "scale": 4, **blur})
    random.seed(0)
    items = [dataset[index] for index in range(4)]
    batch = {key: torch.stack([item[key] for item in items]) for key in ("gt", "kernel1", "kernel2", "sinc_kernel")}
    options = base_options(model_type="RealESRNetModel", gt_size=256, queue_size=4, high_order_degradation=True)
    options |= {
        "resize_prob": [0.2, 0.7, 0.1],
        "resize_range": [0.15, 1.5],
        "gaussian_noise_prob": 0.5,
        "noise_range": [1, 30],
        "poisson_scale_range": [0.05, 3],
        "gray_noise_prob": 0.4,
        "jpeg_range": [30, 95],
        "second_blur_prob": 0.8,
        "resize_prob2": [0.3, 0.4, 0.3],
        "resize_range2": [0.3, 1.2],
        "gaussian_noise_prob2": 0.5,
        "noise_range2": [1, 25],
        "poisson_scale_range2": [0.05, 2.5],
        "gray_noise_prob2": 0.4,
        "jpeg_range2": [30, 95],
        "gt_usm": True,
    }
    options["datasets"] = {}
    model = build(options)

    def degrade() -> None:
        model.feed_data(batch)

    def check() -> list[float]:
        degrade()
        return [float(model.lq.shape[-1]), float(model.gt.shape[-1])]

    return check, degrade


def pairs(folder: Path, kind: str) -> dict[str, Any]:
    """Options of a data set of pairs."""
    ending = ".lmdb" if kind == "lmdb" else ""
    return {
        "name": "pairs",
        "type": "PairedImageDataset",
        "phase": "train",
        "scale": 4,
        "dataroot_gt": str(folder / f"gt{ending}"),
        "dataroot_lq": str(folder / f"lq{ending}"),
        "filename_tmpl": "{}",
        "io_backend": {"type": kind},
        "gt_size": 128,
        "use_hflip": True,
        "use_rot": True,
        "use_shuffle": True,
        "batch_size_per_gpu": 16,
        "dataset_enlarge_ratio": 1,
    }


def loading(folder: Path, kind: str) -> Work:
    from basicsr.data import build_dataloader, build_dataset

    options = {**pairs(folder, kind), "num_worker_per_gpu": 0}
    batches = build_dataloader(build_dataset(options), options, num_gpu=1, dist=False, sampler=None, seed=0)

    def check() -> list[float]:
        # A process may hold a database open once: this one is gone when the loader opens it.
        whole = build_dataset({**pairs(folder, kind), "phase": "val"})
        # BasicSR takes files in the order in which the file system lists them.
        item = min((whole[index] for index in range(16)), key=lambda item: str(item["gt_path"]))
        return [float(item[key].double().mean()) for key in ("gt", "lq")] + [float(item["gt"][1, 5, 7])]

    def load() -> None:
        for _ in range(2):
            for _ in batches:
                pass

    return check, load


def receiving(folder: Path, kind: str) -> Work:
    """What is left to the training process where two others load: their CPU time does not count."""
    from basicsr.data import build_dataloader, build_dataset
    from basicsr.data.data_sampler import EnlargedSampler

    options = {**pairs(folder, kind), "num_worker_per_gpu": 2}
    dataset = build_dataset(options)
    # So long that the start of an epoch, with that of its processes, lies before what is timed.
    sampler = EnlargedSampler(dataset, 1, 0, 2000)
    batches = iter(build_dataloader(dataset, options, num_gpu=1, dist=False, sampler=sampler, seed=0))

    def check() -> list[float]:
        return [float(size) for key in ("gt", "lq") for size in next(batches)[key].shape]

    def receive() -> None:
        for _ in range(20):
            next(batches)

    return check, receive


def images(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    clean = cv2.imread(str(folder / "gt/0000.png"))
    noise = np.random.default_rng(1).normal(0, 5, clean.shape)
    return clean, np.clip(np.round(clean + noise), 0, 255).astype(np.uint8)


def metric(folder: Path, name: str) -> Work:
    import basicsr.metrics

    clean, noisy = images(folder)
    measure = getattr(basicsr.metrics, f"calculate_{name}")
    arguments: dict[str, Any] = {"img": noisy, "img2": clean, "crop_border": 4, "test_y_channel": True}
    if name == "niqe":
        arguments = {"img": noisy, "crop_border": 0}

    def run() -> list[float]:
        return [float(np.asarray(measure(**arguments)).item()) for _ in range(4)]

    return run, run


def validation(folder: Path) -> Work:
    from basicsr.data import build_dataloader, build_dataset

    metrics = {
        name: {"type": f"calculate_{name}", "crop_border": 4, "test_y_channel": True} for name in ("psnr", "ssim")
    }
    options = base_options(model_type="SRModel", val={"save_img": False, "suffix": None, "metrics": metrics})
    model = build(options)
    data = {"name": "two", "type": "PairedImageDataset", "phase": "val", "scale": 4, "io_backend": {"type": "disk"}}
    for kind in ("gt", "lq"):
        (folder / f"two_{kind}").mkdir(exist_ok=True)
        for number in range(2):
            link = folder / f"two_{kind}/{number:04d}.png"
            if not link.exists():
                link.symlink_to(folder / f"{kind}/{number:04d}.png")
    data |= {"dataroot_gt": str(folder / "two_gt"), "dataroot_lq": str(folder / "two_lq"), "filename_tmpl": "{}"}
    loader = build_dataloader(build_dataset(data), data, num_gpu=0, dist=False, sampler=None, seed=0)

    def validate() -> list[float]:
        model.validation(loader, 1, None, False)
        return [float(model.metric_results[name]) for name in ("psnr", "ssim")]

    return validate, validate


WORK: dict[str, Callable[[Path], Work]] = {
    "esrgan_step": esrgan_step,
    "degradation": degradation,
    "png": lambda folder: loading(folder, "disk"),
    "lmdb": lambda folder: loading(folder, "lmdb"),
    "png_received": lambda folder: receiving(folder, "disk"),
    "lmdb_received": lambda folder: receiving(folder, "lmdb"),
    "psnr": lambda folder: metric(folder, "psnr"),
    "ssim": lambda folder: metric(folder, "ssim"),
    "niqe": lambda folder: metric(folder, "niqe"),
    "validation": validation,
}


def main() -> None:
    side, folder = sys.argv[1], Path(sys.argv[2])
    # What the packages print goes to the terminal; answers have the pipe to themselves.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    if side == "basicsr":
        put_in_place()
    prepared: dict[str, Callable[[], Any]] = {}
    for line in sys.stdin:
        order = json.loads(line)
        result: Any
        if "make" in order:
            result = make_data(folder)
        elif "prepare" in order:
            random.seed(0)
            np.random.seed(0)  # noqa: NPY002
            torch.manual_seed(0)
            check, run = WORK[order["prepare"]](folder)
            result, prepared = check(), {order["prepare"]: run}
            run()
        else:
            start = time.process_time()
            prepared[order["run"]]()
            result = time.process_time() - start
        answers.write(json.dumps(result) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
