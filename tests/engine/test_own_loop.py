"""A training loop of other code, from the parts that ``basicsr.train`` publishes."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tiny_run import write_options

from basicsr import __version__, train, version
from basicsr.models import build_model
from basicsr.options import parse_options


@pytest.mark.slow
def test_a_loop_goes_on_from_a_checkpoint(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    changes = {"train": {"total_iter": 3}, "logger": {"use_tb_logger": True, "save_checkpoint_freq": 3}}
    file = write_options(tmp_path, **changes)
    begun, _ = parse_options(tmp_path, True, ["-opt", str(file)])
    assert train.load_resume_state(begun) is None
    assert train.main(["-opt", str(file)], tmp_path) == 0

    opt, _ = parse_options(tmp_path, True, ["-opt", str(file), "--auto_resume", "--force_yml", "train:total_iter=6"])
    state = train.load_resume_state(opt)
    assert state is not None
    assert (state["iter"], state["epoch"]) == (3, 0)
    model = build_model(opt)
    model.resume_training(state)
    with caplog.at_level(logging.INFO):
        made = train.create_train_val_dataloader(opt, logging.getLogger("mine"))
    loader, sampler, val_loaders, total_epochs, total_iters = made
    assert (len(val_loaders), total_epochs, total_iters) == (1, 2, 6)
    assert "6 iterations in 2 epochs" in caplog.text
    sampler.set_epoch(1)
    for iteration, batch in enumerate(loader, start=4):
        model.feed_data(batch)
        model.optimize_parameters(iteration)
    assert model.get_current_log()["l_g_pix"] > 0
    model.save(epoch=1, current_iter=iteration)
    again = train.load_resume_state(opt)
    assert again is not None
    assert (again["iter"], again["epoch"]) == (iteration, 1)
    assert (tmp_path / f"experiments/tiny/models/net_g_{iteration}.pth").is_file()
    model.save(epoch=-1, current_iter=-1)
    assert (tmp_path / "experiments/tiny/models/net_d_latest.pth").is_file()
    assert train.load_resume_state(opt)["iter"] == iteration
    writer = train.init_tb_loggers(opt)
    writer.add_scalar("mine", 0.5, iteration)
    writer.close()
    [event] = EventAccumulator(str(tmp_path / "tb_logger" / "tiny")).Reload().Scalars("mine")
    assert (event.step, event.value) == (iteration, 0.5)


def test_the_version_is_published_in_parts_too() -> None:
    assert version.__version__ == __version__
    assert ".".join(map(str, version.version_info)) == __version__
    assert version.version_info[0] == int(__version__.split(".")[0])
