"""A training script of other code, line by line as BasicSR 1.4.2's own loop."""

from __future__ import annotations

import logging
import math
import os.path as osp
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tiny_run import close_log_files, write_options

from basicsr.data import build_dataloader, build_dataset
from basicsr.data.data_sampler import EnlargedSampler
from basicsr.data.prefetch_dataloader import CPUPrefetcher
from basicsr.models import build_model
from basicsr.train import create_train_val_dataloader, init_tb_loggers, load_resume_state
from basicsr.utils import (
    AvgTimer,
    MessageLogger,
    get_env_info,
    get_root_logger,
    get_time_str,
    make_exp_dirs,
    mkdir_and_rename,
)
from basicsr.utils.options import copy_opt_file, dict2str, parse_options


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    yield
    close_log_files()


def train_pipeline(root_path, argv):
    opt, args = parse_options(root_path, is_train=True, argv=argv)
    opt["root_path"] = root_path
    resume_state = load_resume_state(opt)
    if resume_state is None:
        make_exp_dirs(opt)
        if opt["logger"].get("use_tb_logger") and "debug" not in opt["name"] and opt["rank"] == 0:
            mkdir_and_rename(osp.join(opt["root_path"], "tb_logger", opt["name"]))
    copy_opt_file(args.opt, opt["path"]["experiments_root"])
    log_file = osp.join(opt["path"]["log"], f"train_{opt['name']}_{get_time_str()}.log")
    logger = get_root_logger(logger_name="basicsr", log_level=logging.INFO, log_file=log_file)
    logger.info(get_env_info())
    logger.info(dict2str(opt))
    tb_logger = init_tb_loggers(opt)
    train_loader, train_sampler, val_loaders, total_epochs, total_iters = create_train_val_dataloader(opt, logger)
    model = build_model(opt)
    start_epoch = current_iter = 0
    if resume_state:
        model.resume_training(resume_state)
        logger.info(f"Resuming from epoch: {resume_state['epoch']}, iter: {resume_state['iter']}.")
        start_epoch, current_iter = resume_state["epoch"], resume_state["iter"]
    msg_logger = MessageLogger(opt, current_iter, tb_logger)
    assert opt["datasets"]["train"].get("prefetch_mode") in (None, "cpu")
    prefetcher = CPUPrefetcher(train_loader)
    data_timer, iter_timer = AvgTimer(), AvgTimer()
    for epoch in range(start_epoch, total_epochs + 1):
        train_sampler.set_epoch(epoch)
        prefetcher.reset()
        train_data = prefetcher.next()
        while train_data is not None:
            data_timer.record()
            current_iter += 1
            if current_iter > total_iters:
                break
            model.update_learning_rate(current_iter, warmup_iter=opt["train"].get("warmup_iter", -1))
            model.feed_data(train_data)
            model.optimize_parameters(current_iter)
            iter_timer.record()
            if current_iter == 1:
                msg_logger.reset_start_time()
            if current_iter % opt["logger"]["print_freq"] == 0:
                log_vars = {"epoch": epoch, "iter": current_iter}
                log_vars.update({"lrs": model.get_current_learning_rate()})
                log_vars.update({"time": iter_timer.get_avg_time(), "data_time": data_timer.get_avg_time()})
                log_vars.update(model.get_current_log())
                msg_logger(log_vars)
            if current_iter % opt["logger"]["save_checkpoint_freq"] == 0:
                model.save(epoch, current_iter)
            if opt.get("val") is not None and (current_iter % opt["val"]["val_freq"] == 0):
                for val_loader in val_loaders:
                    model.validation(val_loader, current_iter, tb_logger, opt["val"]["save_img"])
            data_timer.start()
            iter_timer.start()
            train_data = prefetcher.next()
    model.save(epoch=-1, current_iter=-1)
    if opt.get("val") is not None:
        for val_loader in val_loaders:
            model.validation(val_loader, current_iter, tb_logger, opt["val"]["save_img"])
    if tb_logger:
        tb_logger.close()
    return opt, model


def test_a_published_loop_trains_saves_validates_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "basicsr")
    file = write_options(tmp_path, logger={"use_tb_logger": True, "print_freq": 2}, val={"val_freq": 3})
    opt, _ = train_pipeline(str(tmp_path), ["-opt", str(file), "--force_yml", "train:total_iter=3"])
    assert type(opt) is type(opt["train"]["optim_g"]) is dict
    folder = Path(opt["path"]["experiments_root"])
    assert {path.name for path in (folder / "models").iterdir()} == {
        f"net_{name}_{label}.pth" for name in "gd" for label in ("3", "latest")
    }
    assert (folder / "tiny.yml").is_file() and list((tmp_path / "tb_logger/tiny").iterdir())
    assert "Validation tiny_val" in caplog.text and "iter:       2" in caplog.text
    _, model = train_pipeline(str(tmp_path), ["-opt", str(file), "--auto_resume", "--force_yml", "train:total_iter=5"])
    assert "Resuming from epoch: 0, iter: 3." in caplog.text
    assert "iter:       4" in caplog.text and model.get_current_log()["l_g_pix"] > 0


def test_loaders_are_built_by_hand(tmp_path: Path) -> None:
    opt, _ = parse_options(str(tmp_path), True, ["-opt", str(write_options(tmp_path))])
    for phase, dataset_opt in opt["datasets"].items():
        dataset = build_dataset(dataset_opt)
        if phase == "train":
            ratio = dataset_opt.get("dataset_enlarge_ratio", 1)
            sampler = EnlargedSampler(dataset, opt["world_size"], opt["rank"], ratio)
            loader = build_dataloader(
                dataset,
                dataset_opt,
                num_gpu=opt["num_gpu"],
                dist=opt["dist"],
                sampler=sampler,
                seed=opt["manual_seed"],
            )
            assert math.ceil(len(dataset) * ratio / (dataset_opt["batch_size_per_gpu"] * opt["world_size"])) == 5
            batch = next(iter(loader))
            assert batch["lq"].shape == (2, 3, 8, 8) and batch["gt"].dtype == torch.float32
        else:
            loader = build_dataloader(
                dataset, dataset_opt, num_gpu=opt["num_gpu"], dist=opt["dist"], sampler=None, seed=opt["manual_seed"]
            )
            assert loader.dataset.opt["name"] == "tiny_val" and len(loader) == 3
