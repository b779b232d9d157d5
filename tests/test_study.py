"""The study's scripts, run whole at a size whose numbers mean nothing, and its page against its committed results."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from basicsr import cli
from basicsr.analysis import study_command

ROOT = Path(__file__).parents[1]
STUDY = ROOT / "scripts" / "study"


@pytest.fixture(scope="module", autouse=True)
def importable() -> Iterator[None]:
    sys.path.insert(0, str(STUDY))
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)  # which the study chooses where it is imported
    sys.path.remove(str(STUDY))


@pytest.fixture(scope="module")
def results() -> dict:
    return json.loads((STUDY / "results_small.json").read_text(encoding="utf-8"))


def test_conditions_differ_in_their_critics_only(tmp_path: Path):
    import study_runs

    made = {c: study_runs.compose_options(study_runs.Run(c, 1), "small", tmp_path) for c in study_runs.CONDITIONS}
    critics = ("model_type", "name", "network_d", "net_spectral_d")
    rest = []
    for options in made.values():
        kept = {key: value for key, value in options.items() if key not in critics}
        kept["train"] = {k: v for k, v in kept["train"].items() if k not in ("gan_opt", "optim_d", "optim_spectral_d")}
        rest.append(kept)
    assert all(options == rest[0] for options in rest)
    assert rest[0]["manual_seed"] == 1 and "start_seed1" in rest[0]["path"]["pretrain_network_g"]
    assert made["spectral"]["network_d"] == made["both"]["net_spectral_d"]
    assert made["both_log"]["net_spectral_d"] == {**made["both"]["net_spectral_d"], "scale": "log"}


@pytest.mark.parametrize("size", ["small", "large", "tiny"])
def test_every_run_is_a_valid_option_file(size: str, tmp_path: Path):
    import study_runs

    from basicsr.options.parse import load_options

    for run in study_runs.all_runs([0]):
        file = study_runs.write_options(run, size, tmp_path)
        assert load_options(file, overrides=["num_gpu=0"])["manual_seed"] == 0


def test_rank_agreement_of_known_scores():
    import study_ladder

    rungs = study_ladder.list_rungs()
    offset = {name: 100.0 * index for index, name in enumerate(study_ladder.PHOTOGRAPHS)}
    falling = study_ladder.rank_agreement({r.file_name: offset[r.photograph] - r.level for r in rungs})
    assert falling["blur"]["within"] == pytest.approx(1) and 0 < falling["blur"]["across"] < 0.5
    rising = study_ladder.rank_agreement({r.file_name: r.level for r in rungs})
    assert rising["jpeg"] == {"within": pytest.approx(-1), "across": pytest.approx(-1)}


def test_ladder_grows_worse_step_by_step():
    import study_ladder

    image = study_ladder._load("astronaut")
    for kind in study_ladder.STRENGTHS:
        rungs = [study_ladder.Rung("astronaut", kind, level) for level in range(6)]
        errors = [
            float(np.square(study_ladder.degrade(image, rung) - image.astype(np.float64)).mean()) for rung in rungs
        ]
        assert errors[0] == 0 and errors == sorted(errors) and len(set(errors)) == 6


@pytest.mark.recipes
def test_whole_study_in_small(tmp_path: Path):
    import study

    common = ["--size", "tiny", "--seeds", "0", "1", "--root", str(tmp_path)]
    assert study.main(["all", *common]) == 0
    folder = tmp_path / "study_tiny"
    content = json.loads((folder / "results.json").read_text())
    assert set(content["ladder"]["quality_seed1"]) == {"D", "S", "ensemble"}
    assert np.shape(content["critics"]["both_log_seed0"]["S"]["discernment"]["bands"]) == (10,)
    assert {path.name for path in folder.glob("*.png")} == {
        f"study_{n}.png" for n in ("images", "critics", "ladder", "pictures")
    }
    assert "| D and S, S in decibels |" in (folder / "tables.md").read_text()
    before = (folder / "none_seed0" / "summary.json").stat().st_mtime_ns
    assert study.main(["train", *common]) == 0
    assert (folder / "none_seed0" / "summary.json").stat().st_mtime_ns == before


def test_the_command_is_the_script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["study", "report", "--size", "tiny", "--root", str(tmp_path)]) == 3
    assert "no results at" in capsys.readouterr().err
    monkeypatch.setattr(study_command, "STUDY", tmp_path / "scripts")
    assert cli.main(["study", "all"]) == 2
    assert "in a checkout of this project, not in its wheel" in capsys.readouterr().err


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    import study

    assert study.main(["measure", "--size", "tiny", "--root", str(tmp_path)]) == 3
    assert "start_seed0" in capsys.readouterr().err
    assert study.main(["report", "--size", "tiny", "--root", str(tmp_path)]) == 3
    assert "results.json" in capsys.readouterr().err


def test_page_shows_the_committed_results(results: dict, tmp_path: Path):
    import study_report

    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    for name, table in study_report.tables(results).items():
        assert study_report.replace_between(text, name, table) == text
