"""The commands, from option file to results: training, testing, checking, and how they end."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
import yaml
from tiny_run import PROJECT, close_log_files, environment, write_options

from basicsr import __version__, cli, test, train
from basicsr.analysis.quality_critic import load_critic
from basicsr.data import loader
from basicsr.engine.loaders import announce_skipped, build_training_batches
from basicsr.evaluation.validation import Evaluator
from basicsr.metrics import calculate_psnr
from basicsr.models.checkpoint import Position
from basicsr.processing.matlab import imresize
from basicsr.utils.errors import DataError


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    yield
    close_log_files()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished tiny run."""
    root = tmp_path_factory.mktemp("trained")
    file = write_options(root, logger={"use_tb_logger": True})
    close_log_files()  # of a run in an earlier test file
    assert train.main(["-opt", str(file)], root) == 0
    close_log_files()
    return root


def test_training_writes_everything(trained: Path) -> None:
    folder = trained / "experiments/tiny"
    models = {path.name for path in (folder / "models").iterdir()}
    assert models == {f"net_{net}_{label}.pth" for net in "gd" for label in ("3", "6", "9", "latest")}
    assert {path.name for path in (folder / "training_states").iterdir()} == {f"{i}.state" for i in (3, 6, 9, 10)}
    weights = torch.load(folder / "models/net_g_latest.pth", weights_only=True)
    assert set(weights) == {"params", "params_ema"}
    assert (folder / "tiny.yml").read_text().endswith((trained / "tiny.yml").read_text())
    pictures = {str(path.relative_to(folder / "visualization")) for path in folder.glob("visualization/**/*.png")}
    assert pictures == {f"{i:02d}/{i:02d}_{label}.png" for i in range(3) for label in (4, 8, 10)} | {
        f"{i:02d}_comparison.png" for i in range(3)
    }
    log = next(folder.glob("train_tiny_*.log")).read_text()
    for expected in (
        "PyTorch",
        "manual_seed: 3",
        "6 images, batch 2 x 1 process, 4 iterations per epoch",
        "in 3 epochs",
    ):
        assert expected in log


def test_the_console_has_a_line_of_the_options_and_the_log_file_all(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    changes = ["train:total_iter=1", "val=null", "network_d:num_feat=8", "logger:wandb={project: x}"]
    changes.append("logger:use_tb_logger=false")
    argv = ["-opt", str(trained / "tiny.yml"), "--force_yml", *changes]
    assert train.main(argv, tmp_path) == 0
    said = capsys.readouterr().err
    assert "tiny.yml: SRGANModel x4 1 iteration; all options are in the log file" in said
    assert "total_iter" not in said and said.count("num_feat") == 0
    assert "logger.wandb: has no effect: it mirrors TensorBoard, and logger.use_tb_logger is off" in said
    log = next((tmp_path / "experiments/tiny").glob("train_tiny_*.log")).read_text()
    assert "total_iter: 1\n" in log and "num_feat: 8\n" in log
    # The run's copy of its file describes the networks that it has.
    kept = tmp_path / "experiments/tiny/tiny.yml"
    assert yaml.safe_load(kept.read_text())["network_d"]["num_feat"] == 8
    load_critic(tmp_path / "experiments/tiny", "net_d")


def test_notices_of_the_check_are_in_the_log_file(trained: Path, tmp_path: Path) -> None:
    argv = ["-opt", str(trained / "tiny.yml"), "--force_yml", "auto_clean=true", "train:total_iter=1", "val=null"]
    assert train.main(argv, tmp_path) == 0
    log = next((tmp_path / "experiments/tiny").glob("train_tiny_*.log")).read_text()
    assert "auto_clean: has no effect" in log


def test_tensorboard_has_losses_rates_metrics_and_images(trained: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(trained / "tb_logger/tiny")).Reload()
    scalars, images = set(events.Tags()["scalars"]), set(events.Tags()["images"])
    assert {"losses/l_g_pix", "losses/l_d_real", "lr", "metrics/tiny_val/psnr", "metrics/tiny_val/ssim"} <= scalars
    assert images == {f"tiny_val/{i:02d}" for i in range(3)}
    assert [event.step for event in events.Scalars("metrics/tiny_val/psnr")] == [4, 8, 10]
    assert [event.step for event in events.Scalars("lr")] == [2, 4, 6, 8, 10]


def test_summary_compares_with_bicubic(trained: Path) -> None:
    summary = json.loads((trained / "experiments/tiny/summary.json").read_text())
    assert list(summary) == ["00", "01", "02"]
    for image, methods in summary.items():
        assert list(methods) == ["bicubic", "net_g"]
        assert all(set(scores) == {"psnr", "ssim"} for scores in methods.values())
        lq, gt = (cv2.imread(str(trained / f"data/val/{name}/{image}.png")) for name in ("LR", "HR"))
        bicubic = np.round(np.clip(imresize(lq.astype(np.float32) / 255, 4), 0, 1) * 255).astype(np.uint8)
        expected = calculate_psnr(bicubic, gt, crop_border=4, test_y_channel=True)
        assert methods["bicubic"]["psnr"] == pytest.approx(expected, abs=1e-4)
        saved = cv2.imread(str(trained / f"experiments/tiny/visualization/{image}/{image}_10.png"))
        assert methods["net_g"]["psnr"] == pytest.approx(calculate_psnr(saved, gt, 4, test_y_channel=True), abs=1e-9)


def test_the_end_shows_a_table_with_protocols(trained: Path) -> None:
    log = next((trained / "experiments/tiny").glob("train_tiny_*.log")).read_text()
    table = log[log.index("tiny_val: 3 images") :].splitlines()
    assert table[1].split() == ["image", "method", "psnr", "ssim"]
    assert [line.split()[:2] for line in table[9:11]] == [["mean", "bicubic"], ["mean", "net_g"]]
    assert any(line.startswith("psnr: PSNR") and "4 px" in line for line in table)


def test_a_training_leaves_its_numbers_and_a_page_in_its_folder(trained: Path) -> None:
    folder = trained / "experiments/tiny"
    numbers = json.loads((folder / "metrics.json").read_text())["tiny_val"]
    assert numbers["images"] == json.loads((folder / "summary.json").read_text())
    assert "4 px" in numbers["protocols"]["psnr"] and len(set(numbers["gt_digests"].values())) == 3
    page = (folder / "report.html").read_text()
    assert page.count("data:image/webp") == 3 * 4 and '"Losses"' in page and 'notes":[]' in page


def test_a_finished_run_says_so(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = (trained / "experiments/tiny/summary.json").stat().st_mtime_ns
    assert train.main(["-opt", str(trained / "tiny.yml"), "--auto_resume"], trained) == 0
    assert "tiny is finished: 10 iterations" in capsys.readouterr().err
    assert (trained / "experiments/tiny/summary.json").stat().st_mtime_ns == before


def write_test_options(trained: Path, **changes: object) -> Path:
    options = yaml.safe_load((trained / "tiny.yml").read_text())
    gt_free = {"name": "free", "type": "SingleImageDataset", "dataroot_lq": str(trained / "data/val/LR")}
    options |= {
        "name": "tiny_test",
        "model_type": "SRModel",
        "datasets": {"test_1": options["datasets"]["val"], "test_2": gt_free},
        "path": {"pretrain_network_g": str(trained / "experiments/tiny/models/net_g_latest.pth")},
        "val": {"save_img": True, "suffix": "x4", "metrics": options["val"]["metrics"], **changes},
    }
    for key in ("train", "network_d", "logger"):
        options.pop(key)
    file = trained / "tiny_test.yml"
    file.write_text(yaml.safe_dump(options, sort_keys=False))
    return file


def test_testing_measures_the_averaged_weights(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert test.main(["-opt", str(write_test_options(trained))], trained) == 0
    folder = trained / "results/tiny_test"
    metrics = json.loads((folder / "metrics.json").read_text())
    summary = json.loads((trained / "experiments/tiny/summary.json").read_text())
    assert metrics["tiny_val"]["images"] == summary
    assert metrics["tiny_val"]["mean"]["net_g"]["psnr"] == pytest.approx(
        np.mean([summary[image]["net_g"]["psnr"] for image in summary]), rel=1e-12
    )
    assert "4 px" in metrics["tiny_val"]["protocols"]["psnr"]
    assert metrics["free"]["num_images"] == 3
    assert metrics["free"]["mean"] == {"net_g": {}}
    with open(folder / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    assert [(row["dataset"], row["image"], row["method"]) for row in rows[:2]] == [
        ("tiny_val", "00", "bicubic"),
        ("tiny_val", "00", "net_g"),
    ]
    assert float(rows[1]["psnr"]) == summary["00"]["net_g"]["psnr"]
    assert "BT.601 Y" in rows[0]["protocol"]
    pictures = {str(path.relative_to(folder / "visualization")) for path in folder.glob("visualization/**/*.png")}
    assert pictures == {f"{name}/{i:02d}_x4.png" for name in ("tiny_val", "free") for i in range(3)}
    table = capsys.readouterr().err
    assert "Means over images:" in table


def test_the_comparison_with_a_baseline_can_be_switched_off(trained: Path, tmp_path: Path) -> None:
    assert test.main(["-opt", str(write_test_options(trained, baseline=None))], tmp_path) == 0
    metrics = json.loads((tmp_path / "results/tiny_test/metrics.json").read_text())
    assert list(metrics["tiny_val"]["mean"]) == ["net_g"]


def test_tiles_change_nothing_that_can_be_seen(trained: Path) -> None:
    def run(**val: object) -> list[np.ndarray]:
        assert test.main(["-opt", str(write_test_options(trained, **val))], trained) == 0
        files = sorted((trained / "results/tiny_test/visualization/tiny_val").iterdir())
        return [cv2.imread(str(file)).astype(int) for file in files]

    for whole, tiled in zip(run(), run(tile=6, tile_overlap=12), strict=True):
        assert np.abs(whole - tiled).max() <= 1


def test_results_of_a_set_are_kept_when_the_test_ends_in_the_next(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate, seen = Evaluator.evaluate, []

    def stop_in_the_second(evaluator: Evaluator, *where: object, **asked: object) -> object:
        seen.append(evaluator)
        if len(seen) == 2:
            raise DataError("stopped in the second set")
        return evaluate(evaluator, *where, **asked)  # type: ignore[arg-type]

    monkeypatch.setattr(Evaluator, "evaluate", stop_in_the_second)
    assert test.main(["-opt", str(write_test_options(trained, tile=6, tile_overlap=0))], tmp_path) == 3
    folder = tmp_path / "results/tiny_test"
    metrics = json.loads((folder / "metrics.json").read_text())
    assert list(metrics) == ["tiny_val"]
    assert set(metrics["tiny_val"]["notes"]) == set(metrics["tiny_val"]["images"])
    assert len((folder / "metrics.csv").read_text().splitlines()) == 1 + 2 * 3
    printed = capsys.readouterr().err
    assert printed.index("Means over images:") < printed.index("stopped in the second set")
    assert "net_g*: 3 of 3 images generated in tiles of 6 with overlap 0" in printed


@pytest.mark.parametrize("script", [train, test])
def test_check_reports_sizes_and_writes_nothing(
    script: object, trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = trained / "tiny.yml" if script is train else write_test_options(trained)
    assert script.main(["-opt", str(file), "--check"], tmp_path) == 0  # type: ignore[attr-defined]
    text = capsys.readouterr().err
    assert "MSRResNet" in text
    assert "lq 1x3x10x10" in text
    if script is train:
        assert "lq 2x3x8x8, gt 2x3x32x32" in text
        assert "UNetDiscriminatorSN" in text
    assert list(tmp_path.iterdir()) == []


def test_wrong_options_end_with_one_message_and_code_2(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["-opt", str(trained / "tiny.yml"), "--force_yml", "train:total_itr=5", "scale=three"]
    assert train.main(argv, trained) == 2
    text = capsys.readouterr().err
    assert "Traceback" not in text
    assert "total_iter" in text
    assert "scale" in text


def test_missing_files_end_with_code_3(trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["-opt", str(trained / "tiny.yml"), "--force_yml"]
    assert train.main([*options, "datasets:train:dataroot_gt=nowhere/HR"], tmp_path) in (2, 3)
    assert "nowhere/HR" in capsys.readouterr().err
    assert train.main([*options, "path:resume_state=nowhere/5.state"], tmp_path) == 3
    assert "nowhere/5.state" in capsys.readouterr().err


def test_weights_of_another_network_end_with_code_3(trained: Path, tmp_path: Path) -> None:
    weights = trained / "experiments/tiny/models/net_d_latest.pth"
    argv = ["-opt", str(trained / "tiny.yml"), "--force_yml", f"path:pretrain_network_g={weights}"]
    (tmp_path / "experiments/tiny/models").mkdir(parents=True)
    assert train.main(argv, tmp_path) == 3
    assert [entry.name for entry in (tmp_path / "experiments").iterdir()] == ["tiny"]  # nothing is archived
    assert not list((tmp_path / "experiments/tiny").glob("*.log"))


def test_a_file_without_weights_is_not_called_trustworthy(
    trained: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["-opt", str(trained / "tiny.yml"), "--force_yml", f"path:pretrain_network_g={trained / 'tiny.yml'}"]
    assert train.main(argv, tmp_path) == 3
    said = capsys.readouterr().err
    assert f"cannot read {trained / 'tiny.yml'}: it is not a file of tensors" in said
    assert "weights_only" not in said


def test_an_entry_that_the_weights_do_not_have_ends_with_code_3(
    trained: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["-opt", str(write_test_options(trained)), "--force_yml", "path:param_key_g=parms"]
    assert test.main(argv, trained) == 3
    assert "has no entry 'parms'; it has params, params_ema" in capsys.readouterr().err


def test_testing_without_weights_ends_with_code_2(trained: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["-opt", str(write_test_options(trained)), "--force_yml", "path:pretrain_network_g=~"]
    assert test.main(argv, trained) == 2
    assert "path.pretrain_network_g: is not set" in capsys.readouterr().err


def test_skipped_images_of_all_ranks_are_named_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = write_options(tmp_path, train={"total_iter": 8}, val=None)
    block = yaml.safe_load(file.read_text())["datasets"]["train"] | {"max_failed_share": 0.5}
    (tmp_path / "data/train/HR/03.png").write_bytes(b"not an image")
    monkeypatch.setattr(loader, "any_rank", lambda is_new: is_new)
    monkeypatch.setattr(loader, "gather_objects", lambda failed: [failed, ["x.png: seen by another rank"]])
    batches = build_training_batches({"datasets": {"train": {**block, "scale": 4, "phase": "train"}}, "num_gpu": 0})
    batches.loader.failures.is_shared = True
    for _, (position, _batch) in zip(range(4), batches.stream(Position()), strict=False):
        assert position.epoch == 0
    announce_skipped([batches.loader])
    assert "tiny_train: 2 of 6 images were skipped" in caplog.text
    assert "03.png: " in caplog.text.split("were skipped")[1]


def test_a_run_that_diverges_stops_with_code_4(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_options(tmp_path, train={"optim_g": {"type": "SGD", "lr": 1e30}})
    assert train.main(["-opt", str(file)], tmp_path) == 4
    text = capsys.readouterr().err
    assert "not finite at iteration" in text
    kept = next((tmp_path / "experiments/tiny/nonfinite").iterdir())
    content = torch.load(kept, weights_only=True)
    assert content["batch"]["gt"].shape == (2, 3, 32, 32)
    assert all(Path(name).is_file() for name in content["batch"]["gt_path"])


def test_the_installed_command() -> None:
    command = [sys.executable, "-m", "basicsr.cli"]
    shown = subprocess.run([*command, "--version"], capture_output=True, text=True, env=environment(), check=True)
    assert shown.stdout == f"basicsr {__version__}\n"


def test_the_command_knows_its_sub_commands(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        cli.main(["--help"])
    assert ended.value.code == 0
    text = capsys.readouterr().out
    assert all(word in text for word in ("train", "test", "spectrum", "score", "130"))
    with pytest.raises(SystemExit) as ended:
        cli.main(["trian"])
    assert ended.value.code == 2


def test_scripts_run_from_the_source_tree(tmp_path: Path) -> None:
    """``python basicsr/train.py`` works, and a mistake ends without a traceback."""
    command = [sys.executable, str(PROJECT / "basicsr/train.py"), "-opt", str(tmp_path / "missing.yml")]
    ended = subprocess.run(command, capture_output=True, text=True, env=environment(), cwd=tmp_path, check=False)
    assert ended.returncode == 2
    assert "missing.yml" in ended.stderr
    assert "Traceback" not in ended.stderr
