"""Videos as frames: upright RGB pictures with their times, read in any colours and given back in the same ones."""

from __future__ import annotations

import importlib
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple, cast

import numpy as np

from basicsr.utils.errors import DataError, count, first_line
from basicsr.utils.progress import format_seconds

logger = logging.getLogger("basicsr")

_BT709, _UNSPECIFIED, _BT601 = 1, 2, 6
_MATRICES = (1, 4, 5, 6, 7, 9)
"""Those of ITU-T H.273 that swscale knows."""
_LIMITED = 1
_EXACTLY = 0x4 | 0x2000 | 0x4000 | 0x40000
"""To swscale: bicubic, chroma interpolated over all pixels in and out, rounded; PyAV 17 has no names for them."""
MISSING_S = 0.5
"""Seconds without frames at the end from where on a video counts as cut short."""
_LENGTH = re.compile(r"(\d+):(\d+):(\d+(?:\.\d+)?)")
_NO_LENGTH = cast(re.Match[str], _LENGTH.fullmatch("0:0:0"))


def load_av() -> ModuleType:
    """PyAV, which is an extra: only where there is a video to read is it loaded."""
    return importlib.import_module("av")


class Colours(NamedTuple):
    """What numbers of a video mean, in the numbers of ITU-T H.273.

    Attributes:
        matrix: From RGB to luma and chroma.
        range: 1: limited (16 to 235 of 255), 2: full.
        primaries: Of red, green and blue.
        transfer: From light to values.
    """

    matrix: int
    range: int
    primaries: int
    transfer: int


@dataclass
class Frame:
    """A frame.

    Attributes:
        index: Its number among all that could be decoded, from 0.
        pts: When it is shown, in units of the video's time base.
        duration: For how long, in the same units; 0: unknown.
        pixels: (H, W, 3) RGB, upright, uint8 or uint16; empty where nobody asked for them.
    """

    index: int
    pts: int
    duration: int
    pixels: np.ndarray


class VideoFile:
    """A video that is read frame by frame.

    Args:
        path: The file.

    Attributes:
        stream: Its first video stream, as PyAV has it.
        colours: What its numbers mean; where it does not say, BT.709 from 720 rows or 1,280 columns on, else BT.601.
        is_deep: Whether it has more than 8 bits.
        num_frames: How many frames it has, about; 0: unknown.
        damage: What could not be read, with the time at which it was met.

    Raises:
        DataError: If it cannot be read as a video.
    """

    def __init__(self, path: Path) -> None:
        av = load_av()
        if not path.is_file():
            raise DataError("is not a file" if path.exists() else "no such file")
        try:
            # Of the name alone, what stands before a colon would be a protocol.
            self.container = av.open(os.path.abspath(path), metadata_errors="ignore")
        except (av.FFmpegError, OSError) as error:
            raise DataError(f"cannot be read as a video ({first_line(error)})") from error
        covers = av.stream.Disposition.attached_pic
        videos = [one for one in self.container.streams.video if not one.disposition & covers]
        if not videos or videos[0].codec_context is None or videos[0].format is None:
            self.container.close()
            raise DataError("holds no video that can be decoded")
        self.stream = videos[0]
        self.stream.thread_type = "AUTO"
        self.damage: list[str] = []
        self._is_turned = False
        self.colours = self._read_colours()
        self.is_deep = max(part.bits for part in self.stream.format.components) > 8
        self.num_frames = self._estimate_frames()

    def __enter__(self) -> VideoFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.container.close()

    @property
    def area(self) -> int:
        """Pixels of a frame."""
        return int(self.stream.width * self.stream.height)

    @property
    def time_base(self) -> Fraction:
        """Seconds of a unit of time."""
        return self.stream.time_base or Fraction(1, 90000)

    @property
    def aspect(self) -> Fraction | None:
        """Width of an upright pixel by its height, where the file tells; known from the first frame on."""
        found = self.stream.sample_aspect_ratio
        return 1 / Fraction(found) if found and self._is_turned else found

    @property
    def rate(self) -> Fraction:
        """Frames per second, on average."""
        return self.stream.average_rate or self.stream.guessed_rate or Fraction(25)

    def _read_colours(self) -> Colours:
        context = self.stream.codec_context
        name = self.stream.format.name
        is_large = self.stream.width >= 1280 or self.stream.height >= 720
        guess = _BT709 if is_large or self.stream.format.is_rgb else _BT601
        matrix = context.colorspace if context.colorspace in _MATRICES else guess
        given = 2 if name.startswith("yuvj") else context.color_range
        is_full = given == 2 and not self.stream.format.is_rgb
        return Colours(matrix, 2 if is_full else _LIMITED, context.color_primaries, context.color_trc)

    def _estimate_frames(self) -> int:
        if self.stream.frames:
            return int(self.stream.frames)
        return round((self._read_length() or float(self.container.duration or 0) / 1e6) * self.rate)

    def frames(self, deep: bool, is_wanted: Callable[[int], bool]) -> Iterator[Frame]:
        """Decodes the video.

        Args:
            deep: Give 16 bits, not 8.
            is_wanted: Whether the frame of a number is to have pixels.

        Yields:
            All frames, in the order in which they are shown; times rise strictly.
        """
        from av.video.reformatter import VideoReformatter

        reformatter, size = VideoReformatter(), (self.stream.width, self.stream.height)
        step = max(1, round(1 / (self.rate * self.time_base)))
        last = end = None
        for index, decoded in enumerate(self._decode()):
            pts = decoded.pts if decoded.pts is not None else (0 if last is None else last + step)
            # Several frames at one moment: all of them are kept, each a moment later.
            last = pts if last is None else max(pts, last + 1)
            if decoded.is_corrupt:
                self._note("damaged", last)
            if decoded.interlaced_frame and index == 0:
                logger.warning("%s is interlaced: its frames are enlarged as they are", self.container.name)
            pixels = np.empty((0, 0, 3), np.uint8)
            turn = _find_turn(decoded)
            self._is_turned = turn.is_transposed
            if is_wanted(index):
                pixels = turn.apply(_to_rgb(reformatter, decoded, self.colours, size, deep))
            duration = decoded.duration or step
            end = last + duration
            yield Frame(index, last, duration, pixels)
        self._check_end(end)

    def _decode(self) -> Iterator[Any]:
        """What the decoder makes of all packets that it can use."""
        av = load_av()
        packets = self.container.demux(self.stream)
        time = None
        while True:
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as error:
                self._note(f"cut short ({first_line(error)})", time)
                packet = None
            try:
                if packet is not None:
                    time = packet.pts if packet.pts is not None else time
                yield from self.stream.decode(packet)
            except av.EOFError:
                return
            except (av.FFmpegError, OSError) as error:
                self._note(f"cannot be decoded ({first_line(error)})", time)
            if packet is None:
                return

    def _check_end(self, last: int | None) -> None:
        """Notes where frames are missing at the end of what the file says it holds."""
        if last is None:
            self._note("holds no frame", None)
        elif self._read_length() - (last - (self.stream.start_time or 0)) * self.time_base > MISSING_S:
            self._note("cut short", last)

    def _read_length(self) -> float:
        """Seconds of video, as the file says; 0: it does not."""
        if self.stream.duration:
            return float(self.stream.duration * self.time_base)
        # Matroska has it among the texts.
        hours, minutes, seconds = (_LENGTH.fullmatch(self.stream.metadata.get("DURATION", "")) or _NO_LENGTH).groups()
        if length := 3600 * int(hours) + 60 * int(minutes) + float(seconds):
            return length
        is_alone = all(one is self.stream or one.type not in ("audio", "video") for one in self.container.streams)
        return float(self.container.duration or 0) / 1e6 if is_alone else 0.0

    def _note(self, what: str, pts: int | None) -> None:
        place = "" if pts is None else f" at {format_seconds(float(pts * self.time_base))}"
        if f"{what}{place}" not in self.damage:
            self.damage.append(f"{what}{place}")

    def describe_damage(self) -> str:
        """What could not be read, in a line; empty: nothing."""
        more = f" and in {count(len(self.damage) - 3, 'more place')}" if len(self.damage) > 3 else ""
        return "; ".join(self.damage[:3]) + more


def _to_rgb(reformatter: Any, frame: Any, colours: Colours, size: tuple[int, int], deep: bool) -> np.ndarray:
    """A frame (H, W, 3), uint16 if ``deep``, else uint8."""
    if not frame.format.is_rgb:
        frame.colorspace, frame.color_range = colours.matrix, colours.range
    # Transfer and primaries stay as they are, and PyAV 17 gives up where swscale does not know them.
    frame.color_trc = frame.color_primaries = _UNSPECIFIED
    rgb = "rgb48le" if deep else "rgb24"
    made = reformatter.reformat(frame, *size, format=rgb, interpolation=_EXACTLY)
    pixels = made.to_ndarray()
    if deep:
        # White is 255 * 256 to swscale, and 255 * 257 to everyone else.
        pixels = np.minimum(pixels, 65280)
        pixels += pixels >> 8
    return pixels


class _Turn(NamedTuple):
    """How a frame is turned to be upright: transposed first, then flipped."""

    is_transposed: bool = False
    across: bool = False
    down: bool = False

    def apply(self, pixels: np.ndarray) -> np.ndarray:
        """Turns (H, W, C)."""
        pixels = pixels.transpose(1, 0, 2) if self.is_transposed else pixels
        return np.ascontiguousarray(pixels[:: -1 if self.down else 1, :: -1 if self.across else 1])


def _find_turn(frame: Any) -> _Turn:
    """The nearest quarter turn, or flip, of a frame's display matrix, which takes (x, y) to (ax + cy, bx + dy)."""
    matrix = frame.side_data.get("DISPLAYMATRIX")
    if matrix is None:
        return _Turn()
    a, b, _, c, d = np.frombuffer(memoryview(matrix), np.int32)[:5].tolist()
    return _Turn(True, c < 0, b < 0) if abs(b) > abs(a) else _Turn(False, a < 0, d < 0)


def to_video_frame(reformatter: Any, pixels: np.ndarray, colours: Colours, pix_fmt: str) -> Any:
    """A frame for an encoder.

    Args:
        reformatter: PyAV's, kept for all frames.
        pixels: (H, W, 3) RGB, uint8 or uint16, in sides that ``pix_fmt`` takes.
        colours: What its numbers shall mean.
        pix_fmt: The encoder's format.
    """
    from av import VideoFrame

    deep = pixels.dtype == np.uint16
    if deep:
        pixels = pixels - (pixels >> 8)
    frame = VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb48le" if deep else "rgb24")
    frame.colorspace = colours.matrix  # which the result takes over; PyAV 17 knows fewer by the other way
    made = reformatter.reformat(frame, format=pix_fmt, dst_color_range=colours.range, interpolation=_EXACTLY)
    made.colorspace, made.color_range = colours.matrix, colours.range
    made.color_primaries, made.color_trc = colours.primaries, colours.transfer
    return made
