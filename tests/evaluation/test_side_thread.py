"""Work beside the generator: bounded, in order, all done at the end or dropped, and errors come back."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from basicsr.evaluation import side_thread, validation
from basicsr.evaluation.side_thread import MAX_BYTES, MAX_WAITING, SideThread
from basicsr.evaluation.validation import Evaluator, ValOptions
from basicsr.utils.stopping import StopNow

SAMPLES = [{"lq": torch.rand(3, 16, 16), "lq_path": f"{index}.png"} for index in range(8)]


def write_all(folder: Path, predict: Any = lambda batch: batch["lq"]) -> None:
    val = ValOptions.model_validate({"pbar": False})
    Evaluator(predict, val, folder=folder, name="run").evaluate(DataLoader(SAMPLES), "run", save_img=True)


def test_all_work_is_done_in_order_when_the_block_ends() -> None:
    done: list[int] = []
    with SideThread() as beside:
        results = [beside.submit(1, lambda index=index: done.append(index) or index) for index in range(12)]
    assert done == [result.result() for result in results] == list(range(12))


def test_few_images_wait_and_large_ones_are_waited_for() -> None:
    begun, may_end, waiting = threading.Event(), threading.Event(), []

    def work() -> None:
        begun.set()
        assert may_end.wait(30)

    with SideThread() as beside:
        for _ in range(MAX_WAITING):
            waiting.append(beside.submit(1, work))
        assert begun.wait(30) and not beside._has_room(1)
        may_end.set()
        beside.submit(1, lambda: None)
        assert waiting[0].done()  # which made room
        assert beside.submit(MAX_BYTES + 1, lambda: None).done()
        assert all(future.done() for future in waiting)


@pytest.mark.parametrize(("num_cores", "is_idle"), [(1, True), (10**6, False)])
def test_the_thread_does_nothing_where_all_cores_compute(
    num_cores: int, is_idle: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[SideThread] = []
    seen: list[threading.Thread] = []

    class Noted(SideThread):
        def submit(self, size: int, work: Any) -> Any:
            def note() -> Any:
                seen.append(threading.current_thread())
                return work()

            threads.append(self)
            return super().submit(size, note)

    monkeypatch.setattr(validation, "SideThread", Noted)
    monkeypatch.setattr(validation, "available_cores", lambda: num_cores)
    write_all(tmp_path)
    assert len(threads) == len(SAMPLES) == len(list(tmp_path.rglob("*.png")))
    assert all((thread is threading.main_thread()) == is_idle for thread in seen)
    assert {thread.is_idle for thread in threads} == {is_idle}


def test_an_error_of_the_work_ends_the_validation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def refuse(image: Any, path: Path) -> None:
        raise OSError(28, "No space left on device", str(path))

    def predict(batch: dict[str, Any]) -> Tensor:
        made.append(1)
        return batch["lq"]

    monkeypatch.setattr(validation, "imwrite", refuse)
    with pytest.raises(OSError, match=r"No space left on device: '.*0_run.png'"):
        write_all(tmp_path, predict)
    assert len(made) <= MAX_WAITING + 2


@pytest.mark.parametrize("error", [StopNow, KeyboardInterrupt, ValueError])
def test_an_interrupted_validation_leaves_whole_pictures_and_no_thread(
    error: type[BaseException], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, begun, may_end = validation.imwrite, threading.Event(), threading.Event()

    def write_slowly(image: Any, path: Path) -> None:
        begun.set()
        assert may_end.wait(30)
        write(image, path)

    def predict(batch: dict[str, Any]) -> Tensor:
        if batch["lq_path"] == ["2.png"]:
            assert begun.wait(30)
            raise error
        return batch["lq"]

    def shut_down(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
        close(pool, wait=False, cancel_futures=cancel_futures)
        may_end.set()
        close(pool, wait=wait)

    close = ThreadPoolExecutor.shutdown
    monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shut_down)
    monkeypatch.setattr(validation, "imwrite", write_slowly)
    monkeypatch.setattr(validation, "available_cores", lambda: 10**6)
    with pytest.raises(error):
        write_all(tmp_path, predict)
    assert [path.name for path in tmp_path.rglob("*")] == ["images", "0_run.png"]
    assert not any(thread.name.startswith("images") for thread in threading.enumerate())


def test_every_picture_is_there_when_a_validation_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    threads: set[str] = set()
    write = validation.imwrite

    def note(image: Any, path: Path) -> bool:
        threads.add(threading.current_thread().name)
        return write(image, path)

    monkeypatch.setattr(validation, "imwrite", note)
    monkeypatch.setattr(side_thread, "MAX_WAITING", 1)
    monkeypatch.setattr(validation, "available_cores", lambda: 10**6)
    write_all(tmp_path)
    assert sorted(path.name for path in tmp_path.rglob("*.png")) == [f"{index}_run.png" for index in range(8)]
    assert threads == {"images_0"}
