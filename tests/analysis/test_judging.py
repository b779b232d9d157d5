from __future__ import annotations

import argparse
from pathlib import Path

import pytest
import torch
from critic_runs import OPTIONS, QUIET, save_experiment

from basicsr.analysis.critic_arguments import add_test_iqa_arguments
from basicsr.analysis.quality_critic import prepare_judges
from basicsr.archs import build_network
from basicsr.utils.errors import UserError

VGG = {"type": "VggDiscriminatorYN", "in_channels": 3}


def prepare(run: Path, *options: str, test_set: str = "S"):
    parser = argparse.ArgumentParser()
    add_test_iqa_arguments(parser)
    required = ["--experiment_name", str(run), "--test_set", "x", "--test_set_guider", "x", "--test_set_name", test_set]
    return prepare_judges(parser.parse_args([*required, *QUIET, *options]), test_set)


@pytest.fixture(scope="module")
def vgg(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_experiment(tmp_path_factory.mktemp("runs") / "vgg", {**OPTIONS, "network_d": VGG})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--spatial_window_size", "8"],
            "VggDiscriminatorYN has no attention windows",
        ),
        (["--img_size", "64", "64"], "--img_size changes nothing for the spatial critic: VggDiscriminatorYN"),
        (["--n_ensemble", "3"], "--n_ensemble changes nothing here: no critic sees random windows"),
        (["--stride", "8", "--test_protocol_spatial", "random"], "--stride changes nothing here"),
        (["--fix_normalize", "--critics", "spatial"], "--fix_normalize changes nothing here: no critic scales spectra"),
        (
            ["--load_name2", "net_spectral_d_5", "--critics", "spatial"],
            "--load_name2 changes nothing here",
        ),
        (["--test_protocol_spectral", "random", "--critics", "spatial"], "--test_protocol_spectral changes nothing"),
        (
            ["--CLIVE_crop_spatial"],
            "--CLIVE_crop_spatial changes nothing here",
        ),
    ],
)
def test_options_that_change_nothing_are_named(
    options: list[str], words: str, vgg: Path, caplog: pytest.LogCaptureFixture
):
    prepare(vgg, *options)
    warnings = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert len(warnings) == 1 and words in warnings[0]


@pytest.mark.parametrize(
    ("options", "test_set"),
    [
        ([], "S"),
        (["--preset", "PIPAL", "--img_size", "64", "64"], "S"),
        (["--test_protocol_spatial", "random", "--n_ensemble", "2", "--fix_normalize", "--seed", "1"], "S"),
        (["--CLIVE_crop_spatial", "--spectral_window_size", "1"], "CLIVE"),
    ],
)
def test_options_that_matter_are_not(options: list[str], test_set: str, vgg: Path, caplog: pytest.LogCaptureFixture):
    prepare(vgg, *options, test_set=test_set)
    assert not [record for record in caplog.records if record.levelname == "WARNING"]


def test_a_critic_is_never_labelled_as_another(experiment: Path):
    with pytest.raises(UserError, match=r"--load_name2 net_d: these are weights of the spatial critic"):
        prepare(experiment, "--critics", "spectral", "--load_name2", "net_d")
    with pytest.raises(UserError, match=r"--load_name2 net_grad_d: these are weights of the grad_d critic"):
        prepare(experiment, "--load_name2", "net_grad_d")
    with pytest.raises(UserError, match=r"--load_name net_spectral_d_5: .*called net_d or net_d_<iteration>"):
        prepare(experiment, "--load_name", "net_spectral_d_5")


def test_what_scores_depend_on_is_recorded(experiment: Path):
    judges, recorded = prepare(experiment, "--test_protocol_spatial", "random", "--n_ensemble", "3", "--seed", "5")
    assert judges["spatial"].plan.n_ensemble == 3 and judges["spectral"].plan.protocol == "default"
    spatial = recorded["critics"]["spatial"]
    assert (spatial["protocol"], spatial["n_ensemble"], spatial["seed"]) == ("random", 3, 5)
    assert Path(spatial["weights"]["path"]) == experiment / "models" / "net_d.pth"
    assert recorded["critics"]["spectral"]["weights"]["digest"] != spatial["weights"]["digest"]
    assert recorded["experiment"] == str(experiment) and recorded["fix_normalize"] is False


def test_another_critic_of_the_run_may_judge(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    options = {**OPTIONS, "net_grad_d": OPTIONS["network_d"]}
    run = save_experiment(tmp_path / "spsr", options)
    torch.save({"params": build_network(options["net_grad_d"]).state_dict()}, run / "models" / "net_grad_d.pth")
    judges, _ = prepare(run, "--critics", "spatial", "grad_d")
    assert {name: judge.plan.size for name, judge in judges.items()} == {"spatial": (32, 32), "grad_d": (30, 30)}
    assert set(prepare(run)[0]) == {"spatial", "spectral"} and "changes nothing" not in caplog.text
    with pytest.raises(UserError, match="weights must be called net_d or net_spectral_d"):
        prepare(run, "--critics", "texture")
