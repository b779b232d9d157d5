"""Curves of a training, read from its log and its spectra."""

from __future__ import annotations

from pathlib import Path

from run_folders import LOG, write_training

from basicsr.reporting.curves import read_curves, read_profiles


def test_losses_metrics_and_critics_have_their_values_by_iteration(tmp_path: Path) -> None:
    curves = read_curves(write_training(tmp_path))
    assert curves == {
        "lr/0": {2: 1e-3, 1004: 1e-3},
        "lr/1": {2: 1e-4, 1004: 1e-4},
        "losses/l_pix": {2: 0.2},
        "train/out_d_real": {2: 0.15, 1004: 0.5},
        "metrics/set/psnr": {1004: 24.5},
        "metrics/set/dist": {1004: 9.25},
        "critics/set/d_accuracy_real": {1004: 0.55},
        "critics/set/d_accuracy_generated": {1004: 0.44},
        "spectra/set/distance": {1004: 9.25},
    }


def test_what_a_resumed_run_does_again_replaces_what_was_there(tmp_path: Path) -> None:
    folder = write_training(tmp_path)
    later = "INFO: [tiny..][epoch:  0, iter:     500, lr:(1.000e-03,)] [eta: 0:01, time (data): 0.1 (0.0)] l_pix: 0.1\n"
    (folder / "train_trained_20260102_100000.log").write_text(later)
    curves = read_curves(folder)
    assert curves["losses/l_pix"] == {2: 0.2, 500: 0.1} and curves["train/out_d_real"] == {2: 0.15}
    assert "metrics/set/psnr" not in curves


def test_what_a_run_waits_for_is_no_loss(tmp_path: Path) -> None:
    line = "INFO: [tiny..][epoch:  0, iter:     500, lr:(1.000e-03,)] [eta: 0:01, time (data): 0.1 (0.0)] "
    curves = read_curves(write_training(tmp_path, log=line + "[data 62%, computation 30%] l_pix: 0.1"))
    assert [name for name in curves if name.startswith(("losses/", "train/", "lr"))] == ["lr", "losses/l_pix"]
    assert curves["losses/l_pix"] == {500: 0.1}


def test_a_folder_without_a_log_has_no_curves(tmp_path: Path) -> None:
    assert read_curves(tmp_path) == {} and read_profiles(tmp_path) == {}


def test_the_last_profiles_are_read(tmp_path: Path) -> None:
    profiles = read_profiles(write_training(tmp_path, log=LOG))
    assert profiles == {"set": {"frequency": [0.25, 0.75], "generated_db": [1.0, -2.0], "gt_db": [1.5, 0.5]}}


def test_log_files_of_basicsr_have_metrics_too(tmp_path: Path) -> None:
    log = """[0001_..][epoch:  0, iter:   5,000, lr:(1.000e-04,)] [eta: 1:00:00, time (data): 0.1 (0.0)] l_pix: 1e-02
2026-01-01 10:00:02,000 INFO: Validation Set5
\t # psnr: 30.1234\tBest: 30.1234 @ 5000 iter
\t # ssim: 0.8500\tBest: 0.8500 @ 5000 iter

2026-01-01 10:00:03,000 INFO: Saving models and training states.
"""
    curves = read_curves(write_training(tmp_path, log=log))
    assert curves["metrics/Set5/psnr"] == {5000: 30.1234} and curves["metrics/Set5/ssim"] == {5000: 0.85}
