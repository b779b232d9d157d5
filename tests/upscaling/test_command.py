"""``basicsr upscale``: bad files, exit codes, what is there already, interruptions, streams and progress."""

from __future__ import annotations

import io
import logging
import sys
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from picture_kinds import smooth
from tiny_models import compact, save

from basicsr.cli import main
from basicsr.upscaling import pipeline
from basicsr.upscaling.inputs import Job
from basicsr.upscaling.model import load_model
from basicsr.upscaling.pictures import Picture, read_picture
from basicsr.upscaling.pipeline import Pipeline


def make_pictures(folder: Path, count: int, height: int = 18) -> None:
    folder.mkdir(exist_ok=True)
    for index in range(count):
        cv2.imwrite(str(folder / f"{index}.png"), smooth(3, height=height) // (index + 1))


def test_bad_files_are_named_skipped_and_counted(
    workplace: Path, repeating: str, caplog: pytest.LogCaptureFixture
) -> None:
    make_pictures(workplace / "in", 3)
    whole = (workplace / "in/1.png").read_bytes()
    (workplace / "in/1.png").write_bytes(whole[: len(whole) // 2])
    (workplace / "in/text.png").write_text("no picture")
    (workplace / "in/empty.jpg").touch()
    (workplace / "in/link.png").symlink_to("nothing")
    with caplog.at_level(logging.ERROR, "basicsr"):
        assert main(["upscale", "in", "absent.png", "-m", repeating]) == 3
    assert sorted(path.name for path in (workplace / "upscaled").iterdir()) == ["0.png", "2.png"]
    last = caplog.messages[-1]
    assert last.startswith("5 could not be used:")
    for name in (
        "in/1.png: cut short",
        "in/text.png: not a",
        "in/empty.jpg: an empty",
        "in/link.png: is a link",
        "absent",
    ):
        assert name in last


def test_a_result_that_does_not_fit_its_format_is_named(workplace: Path, tmp_path: Path) -> None:
    net = save(compact(scale=16), tmp_path / "x16.pth")
    cv2.imwrite("wide.png", np.zeros((1, 4100, 3), np.uint8))
    cv2.imwrite("small.png", np.zeros((2, 2, 3), np.uint8))
    assert main(["upscale", "wide.png", "small.png", "-m", net, "--ext", "jpg"]) == 3
    assert [path.name for path in Path("upscaled").iterdir()] == ["small.jpg"]


def test_existing_results_are_skipped_or_renewed(workplace: Path, repeating: str) -> None:
    make_pictures(workplace / "in", 3)
    (workplace / "out").mkdir()
    (workplace / "out/1.png").write_bytes(b"kept")
    flags = ["upscale", "in", "-m", repeating, "-o", "out"]
    assert main([*flags, "--skip-existing"]) == 0
    assert (workplace / "out/1.png").read_bytes() == b"kept"
    assert len(list((workplace / "out").iterdir())) == 3
    assert main(flags) == 0
    assert cv2.imread("out/1.png").shape == (36, 52, 3)


class Stream:
    """A stream of text with one of bytes behind it."""

    def __init__(self, content: bytes = b"") -> None:
        self.buffer = io.BytesIO(content)
        self.is_terminal = False

    def isatty(self) -> bool:
        return self.is_terminal


@pytest.mark.parametrize("kind", ["png", "jpg"])
def test_streams(kind: str, workplace: Path, repeating: str, monkeypatch: pytest.MonkeyPatch) -> None:
    content, output = cv2.imencode(f".{kind}", smooth(3))[1].tobytes(), Stream()
    monkeypatch.setattr(sys, "stdin", Stream(content))
    monkeypatch.setattr(sys, "stdout", output)
    assert main(["upscale", "-", "-m", repeating]) == 0
    made = read_picture(output.buffer.getvalue(), "standard output")
    assert made.suffix == f".{kind}"
    expected = read_picture(content, "").pixels.repeat(2, axis=0).repeat(2, axis=1)
    assert np.abs(made.pixels.astype(int) - expected).max() <= (0 if kind == "png" else 12)
    assert list(workplace.iterdir()) == []


def test_pictures_do_not_go_to_a_terminal(
    repeating: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    output = Stream()
    output.is_terminal = True
    monkeypatch.setattr(sys, "stdout", output)
    assert main(["upscale", "-", "-m", repeating]) == 2
    assert "would go to the terminal" in capsys.readouterr().err and not output.buffer.getvalue()


@pytest.mark.parametrize("batch", [1, 3])
def test_batches_change_nothing(batch: int, workplace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    net = save(compact(seed=3), tmp_path / "net.pth")
    make_pictures(workplace / "in", 4)
    cv2.imwrite("in/3.png", smooth(3, height=20))
    sizes: list[int] = []
    enlarge = pipeline.Upscaler.enlarge_pictures

    def spy(self: object, pictures: list[Picture], *rest: object) -> list[Picture]:
        sizes.append(len(pictures))
        return enlarge(self, pictures, *rest)

    monkeypatch.setattr(pipeline.Upscaler, "enlarge_pictures", spy)
    assert main(["upscale", "in", "-m", net, "--batch", str(batch)]) == 0
    assert sizes == ([1, 1, 1, 1] if batch == 1 else [3, 1])
    for index in range(4):
        image = cv2.imread(f"in/{index}.png")[..., ::-1]
        made = cv2.imread(f"upscaled/{index}.png")[..., ::-1]
        assert np.abs(load_model(net)(np.ascontiguousarray(image)).astype(int) - made).max() <= 1


def test_an_interruption_leaves_whole_files_and_says_how_to_go_on(
    workplace: Path, repeating: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures(workplace / "in", 6)
    started = threading.Event()
    write, enlarge = pipeline.write_picture, pipeline.Upscaler.enlarge_pictures
    calls: list[int] = []

    def slow_write(picture: Picture, file: object, suffix: str, quality: int) -> None:
        started.set()
        write(picture, file, suffix, quality)

    def stop(self: object, pictures: list[Picture], *rest: object) -> list[Picture]:
        calls.append(len(calls))
        if len(calls) == 3:
            started.wait(10)
            raise KeyboardInterrupt
        return enlarge(self, pictures, *rest)

    monkeypatch.setattr(pipeline, "write_picture", slow_write)
    monkeypatch.setattr(pipeline.Upscaler, "enlarge_pictures", stop)
    assert main(["upscale", "in", "-m", repeating]) == 130
    names = sorted(path.name for path in (workplace / "upscaled").iterdir())
    assert names in (["0.png"], ["0.png", "1.png"])
    for name in names:
        assert cv2.imread(f"upscaled/{name}").shape == (36, 52, 3)
    said = capsys.readouterr().err
    assert f"Interrupted: {len(names)} picture{'s' * (len(names) > 1)} of 6 written; --skip-existing goes on" in said


def test_a_full_disk_ends_the_command_with_a_remedy(
    workplace: Path, repeating: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_pictures(workplace / "in", 6)

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pipeline, "write_picture", fail)
    assert main(["upscale", "in", "-m", repeating]) == 4
    assert list((workplace / "upscaled").iterdir()) == []
    said = capsys.readouterr().err
    assert "No space left on device" in said and "--skip-existing" in said


def test_reading_enlarging_and_writing_overlap(
    workplace: Path, repeating: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_pictures(workplace / "in", 4)
    order: list[str] = []
    may_write = threading.Event()
    read, write = pipeline.read_picture, pipeline.write_picture

    def reading(content: bytes, name: str) -> Picture:
        order.append(f"read {Path(name).stem}")
        if name.endswith("3.png"):
            may_write.set()
        return read(content, name)

    def writing(picture: Picture, file: object, suffix: str, quality: int) -> None:
        # The first picture is written while the last one is read.
        assert may_write.wait(20)
        write(picture, file, suffix, quality)

    monkeypatch.setattr(pipeline, "read_picture", reading)
    monkeypatch.setattr(pipeline, "write_picture", writing)
    jobs = [Job(workplace / f"in/{index}.png", workplace / f"{index}.png", ".png") for index in range(4)]
    outcome = Pipeline(load_model(repeating)).run(jobs)
    assert (outcome.written, outcome.bad_files) == (4, [])
    assert len(order) == 4


def test_progress_goes_tile_by_tile(workplace: Path, repeating: str, monkeypatch: pytest.MonkeyPatch) -> None:
    make_pictures(workplace / "in", 2, height=64)
    seen: list[tuple[int, str]] = []

    class Spy(pipeline.Progress):
        def update(self, note: str | None = None, steps: int = 1) -> None:
            super().update(note, steps)
            seen.append((self.count, note or ""))

    monkeypatch.setattr(pipeline, "Progress", Spy)
    assert main(["upscale", "in", "-m", repeating, "--tile", "16"]) == 0
    area = 64 * 26
    assert [count for count, _ in seen] == sorted(count for count, _ in seen)
    assert seen[-1] == (2 * area, "in/1.png, tile 8 of 8")
    assert (area // 8, "in/0.png, tile 1 of 8") in seen


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--scale", "0"], "--scale: must be a number above 0"),
        (["--ext", "gif"], "--ext: must be one of png, jpg"),
        (["--quality", "101"], "--quality: must be from 1 to 100"),
        (["--tile", "-3"], "--tile: "),
        (["--sharpen-alpha", "--keep-alpha"], "not allowed with"),
        (["--batch", "0"], "--batch: must be 1 or more"),
    ],
)
def test_wrong_flags_are_answered_at_once(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["upscale", "a.png", *flags])
    assert ended.value.code == 2
    assert words in capsys.readouterr().err


def test_models_that_are_not_there_are_one_line(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_pictures(workplace / "in", 1)
    for model, words in (("absent.pth", "absent.pth"), ("RealESRGAN_x4plu", "did you mean RealESRGAN_x4plus")):
        assert main(["upscale", "in", "-m", model]) == 3
        said = capsys.readouterr().err
        assert words in said and "Traceback" not in said
