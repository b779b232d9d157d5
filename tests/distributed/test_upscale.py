"""``basicsr upscale`` in several processes: one result, one list of bad files, none takes others along."""

from __future__ import annotations

import logging
import os
import random
import signal
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

from basicsr.archs import build_network
from basicsr.cli import main
from basicsr.upscaling import processes
from basicsr.upscaling.inputs import Job
from basicsr.upscaling.pipeline import Outcome, Pipeline
from basicsr.upscaling.processes import Team, deal, list_devices
from basicsr.utils.errors import TrainingError, UserError


@pytest.mark.parametrize("count", [2, 3, 8])
def test_work_is_dealt_so_that_all_finish_together(count: int) -> None:
    generator = random.Random(count)
    jobs = [Job(Path(f"{index}.png"), Path(f"out/{index}.png")) for index in range(400)]
    areas = [generator.choice((1, 2, 4, 24)) * 100_000 for _ in jobs]
    portions = deal(jobs, areas, count)
    assert sorted((job for portion in portions for job in portion), key=jobs.index) == jobs
    assert len(portions) < len(jobs) / 2
    # One process is half as fast as the others.
    sizes, ends = dict(zip(jobs, areas)), [0.0] * count
    for portion in portions:
        first = min(range(count), key=ends.__getitem__)
        ends[first] += sum(sizes[job] for job in portion) * (2 if first == 0 else 1)
    assert max(ends) - min(ends) <= 2 * max(areas)
    assert max(ends) < 1.05 * sum(areas) / (count - 0.5)


def test_every_process_gets_a_share_of_a_video() -> None:
    video = Job(Path("a.mp4"), Path("b.mp4"))
    assert [job.share for portion in deal([video], [1], 3) for job in portion] == [(0, 3), (1, 3), (2, 3)]


def test_gpus_that_are_not_there_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert list_devices("all") == list_devices("2") == ["cuda:0", "cuda:1"]
    with pytest.raises(UserError, match="--gpus 3: this machine has 2 GPUs"):
        list_devices("3")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="--gpus all: this machine has no GPU"):
        list_devices("all")


class Fake(Pipeline):
    """Does what the names of files say."""

    def __init__(self, device: str) -> None:
        if device == "broken":
            raise UserError("no such model")
        super().__init__(None)  # type: ignore[arg-type]

    def run(self, jobs: list[Job], make_progress: object = None) -> Outcome:
        for job in jobs:
            assert job.source and job.target
            if "fatal" in job.name:
                os.kill(os.getpid(), signal.SIGKILL)
            if "full" in job.name:
                raise TrainingError("the disk is full")
            if "slow" in job.name:
                time.sleep(600)
            job.target.write_bytes(b"whole")
            self._settle(job)
        return self.outcome


def make_team_jobs(folder: Path, names: str) -> list[Job]:
    (folder / "out").mkdir()
    return [Job(folder / f"{name}.png", folder / "out" / f"{name}.png", ".png") for name in names.split()]


@pytest.mark.distributed
def test_a_process_that_is_killed_takes_nothing_along(tmp_path: Path) -> None:
    jobs = make_team_jobs(tmp_path, "fatal a b c d e f g")
    outcome = Team(Fake, ["cpu", "cpu"]).run(jobs)
    lost = {file.name for file in outcome.bad_files}
    assert str(tmp_path / "fatal.png") in lost
    assert all("its process ended (code -9)" in file.reason for file in outcome.bad_files)
    # What it had not begun of its portion is named with it; all else is there.
    assert outcome.written == len(jobs) - len(lost) == len(list((tmp_path / "out").iterdir())) >= 5


class Ended:
    """One end of a pipe to a process that has ended."""

    def recv(self) -> None:
        raise EOFError


def test_a_process_that_ends_while_it_waits_gets_no_more_work(monkeypatch: pytest.MonkeyPatch) -> None:
    team, ended = Team(Fake, ["cpu"]), Ended()
    job = Job(Path("a.png"), Path("b.png"), ".png")

    def hear(connection: Ended, progress: object, idle: list[Ended]) -> None:
        if not heard:
            heard.append(idle.append(connection))
            return
        team._portions.append([job])  # what another process's end may leave
        connection.recv()

    heard: list[None] = []
    monkeypatch.setattr(team, "_hear", hear)
    monkeypatch.setattr(processes, "wait", list)
    team._at_work[object()] = [job]
    team._lead({ended: SimpleNamespace(exitcode=-9, join=lambda seconds: None)}, None)  # type: ignore[arg-type]
    assert list(team._portions) == [[job]] and not team._at_work.get(ended)


@pytest.mark.distributed
def test_an_error_that_all_would_meet_ends_all(tmp_path: Path) -> None:
    jobs = make_team_jobs(tmp_path, "full slow")
    with pytest.raises(TrainingError, match="the disk is full"):
        Team(Fake, ["cpu", "cpu"]).run(jobs)
    with pytest.raises(UserError, match="no such model"):
        Team(Fake, ["broken", "broken"]).run(jobs)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.distributed
def test_two_processes_make_what_one_makes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.manual_seed(0)
    sizes = {"num_in_ch": 3, "num_out_ch": 3, "num_feat": 4, "num_conv": 1, "upscale": 2}
    torch.save({"params": build_network({"type": "SRVGGNetCompact", **sizes}).state_dict()}, "net.pth")
    Path("in").mkdir()
    generator = np.random.default_rng(0)
    for index in range(6):
        cv2.imwrite(f"in/{index}.png", generator.integers(0, 256, (12 + index, 16, 3), dtype=np.uint8))
    Path("in/bad.png").write_text("words")
    try:
        import av
    except ImportError:
        pass
    else:
        with av.open("in/clip.mp4", "w") as container:
            stream = container.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
            # The result has rows of 8 blocks: x264's AVX-512 code reads beyond others.
            stream.width, stream.height, stream.pix_fmt = 64, 16, "yuv420p"
            for index in range(120):  # more than one part
                picture = np.full((16, 64, 3), 2 * index, np.uint8)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
            container.mux(stream.encode(None))
    upscale = partial(lambda *flags: main(["upscale", "in", "-m", "net.pth", *flags]))
    assert upscale("-o", "one", "--device", "cpu") == 3
    caplog.clear()
    with caplog.at_level(logging.INFO, "basicsr"):
        assert upscale("-o", "two", "--workers", "2") == 3
    names = sorted(path.name for path in Path("one").iterdir())
    assert sorted(path.name for path in Path("two").iterdir()) == names
    for name in names:
        assert Path("two", name).read_bytes() == Path("one", name).read_bytes()
    assert caplog.messages[-1] == "1 could not be used:\n  in/bad.png: not a readable image"
    assert any(text.startswith(f"{len(names)} ") and "written to two" in text for text in caplog.messages)
