"""Videos keep their times, sound, colours and shape; what is done stays done; what is damaged is named."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from basicsr.cli import main
from basicsr.upscaling import inputs, video_parts, videos
from basicsr.upscaling.model import Upscaler
from basicsr.upscaling.pictures import Picture

av = pytest.importorskip("av")
tiny = pytest.importorskip("tiny_videos")

UNEVEN = (0, 3600, 9000, 12600, 18000, 18400, 30000, 33600, 40000, 50000)
"""Times of frames, in ticks."""


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch, workplace: Path) -> None:
    monkeypatch.setattr(video_parts, "PART", 4)


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[int]]:
    """How many frames passed the network, call by call."""
    sizes: list[int] = []
    enlarge = Upscaler.enlarge_pictures

    def count(self: Upscaler, pictures: list[Picture], *rest: Any) -> list[Picture]:
        sizes.append(len(pictures))
        return enlarge(self, pictures, *rest)

    monkeypatch.setattr(Upscaler, "enlarge_pictures", count)
    yield sizes


def upscale(*flags: str, model: str, code: int = 0) -> None:
    assert main(["upscale", *flags, "-m", model, "--device", "cpu"]) == code


def leftovers() -> list[str]:
    """Hidden files and folders."""
    return [path.name for path in Path().rglob(".*")]


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_times_sound_and_what_is_said_of_streams_are_kept(suffix: str, repeating: str) -> None:
    source = tiny.make_clip("in" + suffix, UNEVEN, sound="aac", aspect=Fraction(4, 3))
    upscale(str(source), "-o", "out" + suffix, model=repeating)
    before, after = tiny.list_frames(source), tiny.list_frames("out" + suffix)
    assert [time for time, _ in after] == [time for time, _ in before]
    assert len({later - earlier for (earlier, _), (later, _) in itertools.pairwise(after)}) > 2
    assert tiny.list_packets("out" + suffix, "audio") == tiny.list_packets(source, "audio")
    with av.open(str(source)) as given, av.open("out" + suffix) as made:
        (video, sound), (old, old_sound) = made.streams, given.streams
        assert (video.codec_context.name, video.width, video.height, video.pix_fmt) == ("h264", 48, 32, "yuv420p")
        assert video.sample_aspect_ratio == Fraction(4, 3)
        assert video.metadata["language"] == "fra" and video.disposition == old.disposition
        assert sound.metadata.get("title") == old_sound.metadata.get("title")
        assert abs(made.duration - given.duration) < 100_000
    for (_, small), (_, large) in zip(before, after):
        assert np.abs(large.reshape(16, 2, 24, 2, 3).mean((1, 3)) - small).mean() < 4
    assert leftovers() == []


@pytest.mark.parametrize("matrix", [1, 6, 9])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv444p10le"])
def test_colours_are_converted_both_ways(matrix: int, full: bool, pix_fmt: str, repeating: str) -> None:
    source = tiny.make_clip("in.mkv", 2, matrix=matrix, full=full, pix_fmt=pix_fmt, codec="ffv1")
    upscale(str(source), "-o", "out.mkv", "--pix-fmt", pix_fmt, "--codec", "ffv1", model=repeating)
    bits = 10 if "10" in pix_fmt else 8
    with av.open(str(source)) as given, av.open("out.mkv") as made:
        context = made.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (matrix, 2 if full else 1)
        assert (context.color_primaries, context.color_trc) == (matrix, matrix)
        assert context.pix_fmt == pix_fmt
        for small, large in zip(given.decode(video=0), made.decode(video=0), strict=True):
            expected, found = (tiny.to_rgb(tiny.read_planes(one), matrix, full, bits) for one in (small, large))
            error = (found - expected.repeat(2, axis=0).repeat(2, axis=1)) * 255
            assert np.abs(error).max() < (3 if bits == 8 else 1)
            # swscale's own arithmetic of the full range is that coarse.
            assert np.abs(error.mean((0, 1))).max() < (1 if full else 0.4)


def test_the_network_sees_right_colours(repeating: str, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[np.ndarray] = []
    enlarge = Upscaler.enlarge_pictures

    def look(self: Upscaler, pictures: list[Picture], *rest: Any) -> list[Picture]:
        shown.extend(picture.pixels for picture in pictures)
        return enlarge(self, pictures, *rest)

    monkeypatch.setattr(Upscaler, "enlarge_pictures", look)
    for matrix, pix_fmt in ((1, "yuv444p"), (6, "yuv444p"), (9, "yuv444p10le")):
        upscale(
            str(tiny.make_clip("in.mkv", 1, matrix=matrix, pix_fmt=pix_fmt, codec="ffv1")),
            "-o",
            "out.mkv",
            model=repeating,
        )
        (pixels,) = shown
        expected = tiny.wave(0, 16, 24) * np.iinfo(pixels.dtype).max
        assert np.abs(pixels - expected).max() <= np.iinfo(pixels.dtype).max * 2 / 255
        assert pixels.dtype == (np.uint16 if "10" in pix_fmt else np.uint8)
        shown.clear()


@pytest.mark.parametrize(("height", "width", "matrix"), [(16, 24, 6), (16, 1280, 1)])
def test_colours_that_are_not_named_are_those_of_the_size_and_are_named(
    height: int, width: int, matrix: int, repeating: str
) -> None:
    tiny.make_clip("in.mp4", 1, height, width, is_tagged=False)
    upscale("in.mp4", "-o", "out.mp4", model=repeating)
    with av.open("out.mp4") as made:
        context = made.streams.video[0].codec_context
        assert (context.colorspace, context.color_range) == (matrix, 1)
        assert (context.color_primaries, context.color_trc) == (2, 2)


@pytest.mark.skipif(not hasattr(av.VideoStream, "set_display_rotation"), reason="PyAV 18 writes rotated files")
@pytest.mark.parametrize("rotation", [90, 180, -90])
def test_frames_are_turned_upright(rotation: int, repeating: str) -> None:
    tiny.make_clip("in.mp4", 1, rotation=rotation, aspect=Fraction(4, 3))
    upscale("in.mp4", "-o", "out.mp4", model=repeating)
    (_, small), (_, large) = tiny.list_frames("in.mp4")[0], tiny.list_frames("out.mp4")[0]
    upright = np.rot90(small, rotation // 90).repeat(2, axis=0).repeat(2, axis=1)
    assert large.shape == upright.shape
    assert np.abs(large.astype(float) - upright).mean() < 4
    with av.open("out.mp4") as made:
        assert next(made.decode(video=0)).rotation == 0
        is_turned = rotation % 180 != 0
        assert made.streams.video[0].sample_aspect_ratio == (Fraction(3, 4) if is_turned else Fraction(4, 3))


def test_depth_is_kept_or_chosen(repeating: str) -> None:
    tiny.make_clip("in.mp4", 1, pix_fmt="yuv420p10le")
    for flags, expected in (([], "yuv420p10le"), (["--pix-fmt", "yuv420p"], "yuv420p")):
        upscale("in.mp4", "-o", "out.mp4", *flags, model=repeating)
        with av.open("out.mp4") as made:
            assert made.streams.video[0].pix_fmt == expected


def test_odd_sides_get_one_more_row_and_column(repeating: str) -> None:
    tiny.make_clip("in.mp4", 1, 18, 22)
    upscale("in.mp4", "-o", "out.mp4", "--scale", "1.5", model=repeating)
    ((_, frame),) = tiny.list_frames("out.mp4")
    assert frame.shape == (28, 34, 3)


def test_webm_and_other_encoders(repeating: str, caplog: pytest.LogCaptureFixture) -> None:
    tiny.make_clip("in.mkv", 3, sound="libopus")
    upscale("in.mkv", "-o", "out.webm", model=repeating)
    with av.open("out.webm") as made:
        assert [stream.codec_context.name for stream in made.streams] == ["vp9", "opus"]
    assert tiny.list_packets("out.webm", "audio") == tiny.list_packets("in.mkv", "audio")
    upscale("in.mkv", "-o", "out.mkv", "--codec", "ffv1", model=repeating)
    with av.open("out.mkv") as made:
        assert made.streams.video[0].codec_context.name == "ffv1"
    for flags, words in (
        (["--codec", "none"], "--codec none: PyAV has no such encoder"),
        (["--codec", "ffv1", "--crf", "9"], "--crf: ffv1 has no such setting"),
        (["--pix-fmt", "pal8"], "--pix-fmt pal8: libx264 takes"),
    ):
        assert main(["upscale", "in.mkv", "-o", "other.mkv", "-m", repeating, *flags]) == 2, words
    assert main(["upscale", "in.mkv", "-o", "other.webm", "-m", repeating, "--codec", "libx264"]) == 2


def test_an_unfit_encoder_stops_everything_before_it_begins(repeating: str) -> None:
    for name in ("a.mkv", "b.webm"):
        tiny.make_clip(name, 2, **({"codec": "libvpx-vp9"} if name.endswith("webm") else {}))
    upscale("a.mkv", "b.webm", "-o", "out", "--codec", "libx264", model=repeating, code=2)
    assert not Path("out").exists()


def test_no_part_is_finished_without_a_frame_that_failed(repeating: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.make_clip("in.mp4", 10)
    convert = video_parts.to_video_frame
    calls = itertools.count()

    def fail_once(*rest: Any) -> Any:
        if next(calls) == 2:
            raise MemoryError
        return convert(*rest)

    with monkeypatch.context() as patch:
        patch.setattr(video_parts, "to_video_frame", fail_once)
        assert main(["upscale", "in.mp4", "-o", "out.mp4", "-m", repeating, "--device", "cpu"]) != 0
    upscale("in.mp4", "-o", "out.mp4", model=repeating)
    assert len(tiny.list_frames("out.mp4")) == 10


def test_a_colon_in_a_name_is_no_protocol(repeating: str) -> None:
    tiny.make_clip("in.mkv", 2)
    Path("in.mkv").rename("12:30.mkv")
    upscale("12:30.mkv", "-o", "at 12:30.mkv", model=repeating)
    assert len(tiny.list_frames(Path("at 12:30.mkv").absolute())) == 2


def test_subtitles_are_kept_where_they_fit(repeating: str, caplog: pytest.LogCaptureFixture) -> None:
    tiny.make_clip("in.mkv", 3, subtitles="subrip")
    upscale("in.mkv", "-o", "out.mkv", model=repeating)
    assert tiny.list_packets("out.mkv", "subtitle") == tiny.list_packets("in.mkv", "subtitle")
    with caplog.at_level(logging.WARNING, "basicsr"):
        upscale("in.mkv", "-o", "out.mp4", model=repeating)
    assert "subtitle (srt) left out, which .mp4 files do not hold" in caplog.text


def test_sound_that_does_not_fit_is_said_before_the_work(
    repeating: str, seen: list[int], caplog: pytest.LogCaptureFixture
) -> None:
    tiny.make_clip("in.mp4", 3, sound="aac")
    upscale("in.mp4", "-o", "out.webm", model=repeating, code=3)
    assert ".webm files cannot hold its sound (aac)" in caplog.text
    assert not seen and not Path("out.webm").exists()


# --- stopping and going on --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("batch", [1, 3])
def test_what_is_done_is_not_done_again(
    batch: int, repeating: str, monkeypatch: pytest.MonkeyPatch, seen: list[int]
) -> None:
    # Where rows are not a multiple of 8 blocks of 16 pixels, x264's AVX-512 code reads beyond them, and then its bits
    # depend on what it finds there.
    source = str(tiny.make_clip("in.mp4", UNEVEN, width=64, sound="aac"))
    flags = [source, "--batch", str(batch)]
    upscale(*flags, "-o", "straight.mp4", model=repeating)
    assert sum(seen) == len(UNEVEN) and max(seen) == batch
    seen.clear()
    enlarge = Upscaler.enlarge_pictures

    def stop(self: Upscaler, pictures: list[Picture], *rest: Any) -> list[Picture]:
        if sum(seen) >= 6:
            raise KeyboardInterrupt
        return enlarge(self, pictures, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(Upscaler, "enlarge_pictures", stop)
        upscale(*flags, "-o", "out.mp4", model=repeating, code=130)
    (folder,) = (path for path in Path().iterdir() if path.name.startswith(".out.mp4"))
    assert not Path("out.mp4").exists()
    assert [path.name for path in folder.iterdir()] == ["000000.nut"]
    seen.clear()
    upscale(*flags, "-o", "out.mp4", model=repeating)
    assert sum(seen) == len(UNEVEN) - 4
    assert leftovers() == []
    assert Path("out.mp4").read_bytes() == Path("straight.mp4").read_bytes()
    seen.clear()
    upscale(*flags, "-o", "out.mp4", "--skip-existing", model=repeating)
    assert not seen


def test_parts_of_other_settings_are_not_taken(
    repeating: str, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny.make_clip("in.mp4", 6)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(videos, "join", stop)
        upscale("in.mp4", "-o", "out.mp4", model=repeating, code=130)
    seen.clear()
    upscale("in.mp4", "-o", "out.mp4", "--crf", "30", model=repeating)
    assert sum(seen) == 6 and leftovers() == []


def test_joining_alone_is_done_again(repeating: str, seen: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.make_clip("in.mp4", 6)

    def fill(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(videos, "join", fill)
        upscale("in.mp4", "-o", "out.mp4", model=repeating, code=4)
    assert not Path("out.mp4").exists()
    seen.clear()
    upscale("in.mp4", "-o", "out.mp4", model=repeating)
    assert not seen and len(tiny.list_frames("out.mp4")) == 6


def test_few_frames_are_in_memory(repeating: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tiny.make_clip("in.mp4", 20)
    decoded, encoded, ahead = [0], [0], []
    read, write = videos.VideoFile.frames, videos.PartWriter.write

    def reading(self: Any, *rest: Any) -> Iterator[Any]:
        for frame in read(self, *rest):
            decoded[0] += 1
            ahead.append(decoded[0] - encoded[0])
            yield frame

    def writing(self: Any, *rest: Any) -> None:
        write(self, *rest)
        encoded[0] += 1

    monkeypatch.setattr(videos.VideoFile, "frames", reading)
    monkeypatch.setattr(videos.PartWriter, "write", writing)
    upscale("in.mp4", "-o", "out.mp4", model=repeating)
    assert decoded == encoded == [20]
    # Decoded ahead, in the network's hands, and waiting for the encoder.
    assert max(ahead) <= 2 * videos.AHEAD + 2


# --- damage -----------------------------------------------------------------------------------------------------------


def test_damaged_frames_are_named_and_the_rest_is_done(repeating: str, caplog: pytest.LogCaptureFixture) -> None:
    tiny.make_clip("whole.mp4", 16, sound="aac")
    content = bytearray(Path("whole.mp4").read_bytes())
    with av.open("whole.mp4") as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
        for packet in packets[6:8]:
            content[packet.pos : packet.pos + packet.size] = bytes(packet.size)
    Path("in.mp4").write_bytes(content)
    upscale("in.mp4", "-o", "out.mp4", model=repeating, code=3)
    assert "in.mp4: " in caplog.messages[-1] and "0:00:00" in caplog.messages[-1]
    frames = tiny.list_frames("out.mp4")
    assert 12 <= len(frames) <= 16
    assert {time for time, _ in frames} <= {time for time, _ in tiny.list_frames("whole.mp4")}


def test_files_that_are_cut_short_are_named(repeating: str, caplog: pytest.LogCaptureFixture) -> None:
    content = tiny.make_clip("whole.mkv", 40, 32, 48).read_bytes()
    Path("in.mkv").write_bytes(content[: len(content) // 2])
    tiny.make_clip("other.mp4", 2)
    upscale("in.mkv", "other.mp4", model=repeating, code=3)
    assert "in.mkv: cut short" in caplog.messages[-1]
    assert 5 < len(tiny.list_frames("upscaled/in.mkv")) < 40
    assert len(tiny.list_frames("upscaled/other.mp4")) == 2


def test_files_that_are_no_videos_are_named(repeating: str, caplog: pytest.LogCaptureFixture) -> None:
    Path("text.mp4").write_text("words")
    Path("empty.mkv").touch()
    tiny.make_clip("good.mp4", 1)
    upscale("text.mp4", "empty.mkv", "good.mp4", "absent.mp4", model=repeating, code=3)
    for words in ("text.mp4: cannot be read as a video", "empty.mkv: cannot be read", "absent.mp4: no such file"):
        assert words in caplog.messages[-1]
    assert [path.name for path in Path("upscaled").iterdir()] == ["good.mp4"]


# --- which files ------------------------------------------------------------------------------------------------------


def test_folders_may_hold_both(repeating: str) -> None:
    from picture_kinds import smooth
    from PIL import Image

    Path("in/deep").mkdir(parents=True)
    Image.fromarray(smooth(3)).save("in/a.png")
    tiny.make_clip("in/deep/b.mp4", 1)
    tiny.make_clip("in/c.avi", 2, codec="mpeg4")
    upscale("in", "-o", "out", "--ext", "webp", model=repeating)
    assert sorted(str(path) for path in Path("out").rglob("*.*")) == ["out/a.webp", "out/c.mkv", "out/deep/b.mp4"]
    upscale("in/deep/b.mp4", "--ext", "mkv", "-o", "out", model=repeating)
    assert len(tiny.list_frames("out/b.mkv")) == 1


def test_without_pyav_named_videos_are_refused_and_those_of_folders_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(inputs, "_can_read_videos", lambda: False)
    inputs._say_once.cache_clear()
    Path("in").mkdir()
    Path("in/a.png").touch()
    Path("in/b.mp4").touch()
    Path("in/c.mp4").touch()
    with pytest.raises(inputs.UserError, match=r"in/b\.mp4: videos need PyAV.*pip install -e '\.\[video\]'"):
        inputs.list_jobs(["in/b.mp4"], inputs.Naming("out"))
    jobs, bad = inputs.list_jobs(["in"], inputs.Naming("out"))
    assert [str(job.source) for job in jobs] == ["in/a.png"] and not bad
    assert caplog.text.count("videos are left out: they need PyAV") == 1
