"""Places are read from the launcher's environment, and collective helpers work alone."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from tiny_run import environment, find_free_port

from basicsr.engine import pipeline
from basicsr.options import RunOptions, parse_options
from basicsr.options.derive import Launch, detect_launch
from basicsr.utils import dist_util
from basicsr.utils.dist_util import Place, init_dist, is_master, read_place, waiting_for_others
from basicsr.utils.errors import OptionsError, UserError
from basicsr.utils.frozen import freeze

TORCHRUN = {
    "RANK": "3",
    "WORLD_SIZE": "4",
    "LOCAL_RANK": "1",
    "MASTER_ADDR": "node1",
    "MASTER_PORT": "1234",
    "TORCHELASTIC_RUN_ID": "none",
}
SLURM = {"SLURM_PROCID": "2", "SLURM_NTASKS": "8", "SLURM_LOCALID": "0", "SLURM_JOB_NODELIST": "gpu[03-05],cpu1"}


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in {*TORCHRUN, *SLURM, "MASTER_PORT"}:
        monkeypatch.delenv(name, raising=False)


def set_environment(monkeypatch: pytest.MonkeyPatch, values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, value)


def test_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_master()
    set_environment(monkeypatch, TORCHRUN)
    assert read_place("pytorch") == Place(3, 4, 1, "env://")
    assert not is_master()


def test_torchrun_that_is_missing_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "0")
    with pytest.raises(UserError, match=r"WORLD_SIZE, LOCAL_RANK.*torchrun --nproc_per_node"):
        init_dist("pytorch")
    with pytest.raises(UserError, match="srun"):
        init_dist("slurm")
    with pytest.raises(UserError, match="unknown launcher 'mpi'"):
        init_dist("mpi")


def test_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, SLURM)
    assert read_place("slurm", port=29501) == Place(2, 8, 0, "tcp://gpu03:29501")
    monkeypatch.setenv("MASTER_PORT", "0810")
    monkeypatch.setenv("MASTER_ADDR", "10.0.0.1")
    assert read_place("slurm") == Place(2, 8, 0, "tcp://10.0.0.1:810")
    monkeypatch.delenv("MASTER_ADDR")
    monkeypatch.setenv("SLURM_JOB_NODELIST", "node-7")
    assert read_place("slurm").init_method == "tcp://node-7:810"


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu[03-05],cpu1", "gpu03"),
        ("cpu1,gpu[03-05,09]", "cpu1"),
        ("gpu[7],cpu1", "gpu7"),
        ("gpu-[007,010-012]", "gpu-007"),
        ("rack[2-3]node[04,06]-ib,cpu1", "rack2node04-ib"),
    ],
)
def test_processes_meet_on_the_first_of_slurm_s_machines(
    nodes: str, first: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, {**SLURM, "SLURM_JOB_NODELIST": nodes})
    assert read_place("slurm").init_method == f"tcp://{first}:29500"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SLURM_PROCID": "abc"}, "SLURM_PROCID=abc is no whole number"),
        ({"SLURM_LOCALID": "-1"}, "SLURM_LOCALID=-1 is no whole number"),
        ({"SLURM_PROCID": "8"}, "SLURM_PROCID=8 is not below SLURM_NTASKS=8"),
        ({"SLURM_NTASKS": "0"}, "SLURM_PROCID=2 is not below SLURM_NTASKS=0"),
        ({"MASTER_PORT": "here"}, "MASTER_PORT=here is no whole number"),
        ({"MASTER_PORT": "70000"}, "MASTER_PORT=70000 is above 65535"),
        ({"SLURM_NTASKS": ""}, "the environment has no SLURM_NTASKS"),
    ],
)
def test_an_environment_that_does_not_fit_is_one_line(
    changes: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_environment(monkeypatch, {**SLURM, **changes})
    with pytest.raises(UserError, match=message) as found:
        init_dist("slurm")
    assert "\n" not in str(found.value)


def test_a_rank_beyond_the_world_size_is_refused_under_torchrun(monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, {**TORCHRUN, "RANK": "4"})
    with pytest.raises(UserError, match="RANK=4 is not below WORLD_SIZE=4"):
        read_place("pytorch")


def test_a_port_in_use_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        here = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "localhost", "MASTER_PORT": str(port)}
        set_environment(monkeypatch, {**SLURM, **here})
        with pytest.raises(UserError, match=rf"^localhost:{port}: the port is in use; .* MASTER_PORT$"):
            init_dist("slurm", "gloo", use_gpu=False, timeout_s=5)


def test_processes_that_do_not_come_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    here = {"SLURM_PROCID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_NODELIST": "localhost"}
    set_environment(monkeypatch, {**SLURM, **here})
    with pytest.raises(UserError, match=r"^process 0 of 2 cannot meet the others at localhost:\d+: .*$"):
        init_dist("slurm", "gloo", use_gpu=False, timeout_s=0.1, port=find_free_port())


@pytest.mark.parametrize("is_train", [True, False])
def test_several_processes_that_would_work_alone_are_refused(is_train: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    set_environment(monkeypatch, TORCHRUN)
    with pytest.raises(OptionsError, match=r"--launcher none: each of the 4 processes \(WORLD_SIZE\)"):
        parse_options(".", is_train=is_train, argv=["-opt", "x.yml", "--launcher", "none"])
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert detect_launch("none") == Launch()


def test_signals_end_a_process_that_waits_for_others() -> None:
    former = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with waiting_for_others():
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGTERM) is signal.default_int_handler
        signal.signal(signal.SIGTERM, print)
        with waiting_for_others():
            assert signal.getsignal(signal.SIGTERM) is print  # a handler that saves first
    finally:
        signal.signal(signal.SIGTERM, former)


def test_a_signal_ends_a_process_while_it_meets_the_others() -> None:
    code = "from basicsr.engine.exits import run_to_exit_code as run; from basicsr.utils.dist_util import init_dist; "
    code += "run(lambda: init_dist('slurm', 'gloo', use_gpu=False))"
    with socket.socket() as rank_0:
        rank_0.bind(("127.0.0.1", 0))
        rank_0.listen()
        here = {"SLURM_PROCID": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(rank_0.getsockname()[1])}
        process = subprocess.Popen([sys.executable, "-c", code], env={**environment(), **SLURM, **here})
        rank_0.settimeout(60)
        connection, _ = rank_0.accept()  # and never answers
        with connection:
            process.send_signal(signal.SIGTERM)
            assert process.wait(timeout=20) == -signal.SIGTERM


def test_alone_nothing_is_communicated() -> None:
    init_dist("none")
    assert dist_util.get_dist_info() == (0, 1)
    assert dist_util.gather_objects({"a": 1}) == [{"a": 1}]
    assert dist_util.broadcast_object("x") == "x"
    assert dist_util.gather_on_master({"a": 1}) == [{"a": 1}]
    dist_util.barrier()
    with dist_util.master_first():
        pass
    assert dist_util.master_only(lambda: 3)() == 3
    dist_util.shut_down_dist()


def test_settings_are_handed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[Any, ...]] = []
    monkeypatch.setattr(pipeline, "init_dist", lambda *args, **kwargs: calls.append((*args, kwargs)))
    monkeypatch.setattr(pipeline, "run_test", lambda opt, opt_file, overrides: None)
    for options in (RunOptions(num_gpu=0, dist_params={"backend": "gloo", "timeout": 2.5}), RunOptions()):
        parsed = freeze({}, options), SimpleNamespace(launcher="none", check=False, opt="file.yml", force_yml=[])
        monkeypatch.setattr(pipeline, "parse_options", lambda *_, found=parsed, **__: found)
        pipeline.run_pipeline(".", [], is_train=False)
    assert calls == [
        ("none", "gloo", {"port": None, "use_gpu": False, "timeout_s": 150.0}),
        ("none", None, {"port": None, "use_gpu": True, "timeout_s": 1800.0}),
    ]


def test_only_rank_0_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dist_util, "get_dist_info", lambda: (1, 2))
    assert dist_util.master_only(lambda: 3)() is None


def test_bare_takes_off_a_wrapper_and_nothing_else() -> None:
    class Holder(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = torch.nn.Linear(1, 1)

    net = Holder()
    assert dist_util.bare(net) is net
    assert dist_util.bare(torch.nn.DataParallel(net)) is net
