"""Finished parts of a video, encoded beside the file that they become: what is done stays done when work stops."""

from __future__ import annotations

import io
import json
import os
import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from basicsr.upscaling.video_files import Colours, Frame, VideoFile, load_av, to_video_frame
from basicsr.utils.atomic import atomic_write_json
from basicsr.utils.errors import UserError

PART = 100
"""Frames of a part, which begins with a key frame: what a stop costs at most."""
CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska", ".webm": "webm"}
"""What is written, by suffix."""
LATER = 2**32
"""Added to times in parts: from decoding times below 0, NUT files would be shifted."""
_QUALITY = {
    "libx264": ("crf", 18.0),
    "libx265": ("crf", 20.0),
    "libvpx-vp9": ("crf", 24.0),
    "libaom-av1": ("crf", 22.0),
    "libsvtav1": ("crf", 24.0),
    "h264_nvenc": ("cq", 19.0),
    "hevc_nvenc": ("cq", 21.0),
    "av1_nvenc": ("cq", 24.0),
}
"""What encoders call their constant quality, and how much of it looks like the network's picture."""
_OTHER_OPTIONS = {
    "libx265": {"x265-params": "log-level=error"},
    "libvpx-vp9": {"b": "0", "row-mt": "1", "cpu-used": "4"},
    "h264_nvenc": {"rc": "vbr", "b": "0"},
    "hevc_nvenc": {"rc": "vbr", "b": "0"},
    "av1_nvenc": {"rc": "vbr", "b": "0"},
}
_FORMATS = {False: ("yuv420p", "nv12"), True: ("yuv420p10le", "p010le", "yuv422p10le")}


class Encoding(NamedTuple):
    """How videos are encoded.

    Attributes:
        codec: Name of an encoder of FFmpeg; ``None``: libx264, in WebM files libvpx-vp9.
        crf: Its constant quality, the less the better; ``None``: one that looks like the network's picture.
        pix_fmt: Pixel format; ``None``: yuv420p, of more than 8 bits yuv420p10le.
    """

    codec: str | None = None
    crf: float | None = None
    pix_fmt: str | None = None


class Encoder(NamedTuple):
    """An encoder with all that it needs to be told."""

    codec: str
    options: dict[str, str]
    pix_fmt: str
    is_deep: bool


def choose_encoder(encoding: Encoding, suffix: str, is_deep: bool) -> Encoder:
    """What encodes a video of a container and depth.

    Raises:
        UserError: If there is no such encoder here, the container does not hold what it makes, or it does not take the
            format or a quality.
    """
    av = load_av()
    codec = encoding.codec or ("libvpx-vp9" if suffix == ".webm" else "libx264")
    try:
        known = av.codec.Codec(codec, "w")
    except ValueError:
        known = None
    if known is None or known.type != "video":
        there = ", ".join(name for name in _QUALITY if name in av.codecs_available)
        raise UserError(f"--codec {codec}: PyAV has no such encoder of videos here; common ones are {there}")
    with av.open(io.BytesIO(), "w", format=CONTAINERS[suffix]) as trial:
        if codec not in trial.supported_codecs:
            raise UserError(f"--codec {codec}: {suffix} files do not hold it; take another, or .mkv")
    formats = [one.name for one in known.video_formats or ()]
    if encoding.pix_fmt and formats and encoding.pix_fmt not in formats:
        raise UserError(f"--pix-fmt {encoding.pix_fmt}: {codec} takes {', '.join(formats)}")
    wished = (*_FORMATS[is_deep], *_FORMATS[False])
    fitting = next((one for one in wished if not formats or one in formats), formats[0] if formats else wished[0])
    pix_fmt = encoding.pix_fmt or fitting
    options = dict(_OTHER_OPTIONS.get(codec, {}))
    if codec in _QUALITY:
        name, usual = _QUALITY[codec]
        options[name] = f"{usual if encoding.crf is None else encoding.crf:g}"
    elif encoding.crf is not None:
        raise UserError(f"--crf: {codec} has no such setting; leave it out, or take {', '.join(_QUALITY)}")
    try:
        bits = max(part.bits for part in av.VideoFormat(pix_fmt).components)
    except ValueError:
        raise UserError(f"--pix-fmt {pix_fmt}: FFmpeg knows no such format") from None
    return Encoder(codec, options, pix_fmt, bits > 8)


class Parts:
    """The parts of one video, in a hidden folder beside the file that they become.

    Args:
        target: That file.
        key: Names everything that the pictures depend on: of another source, model or encoder, the parts are others.
    """

    def __init__(self, target: Path, key: str) -> None:
        self.target = target
        self.folder = target.with_name(f".{target.name}.{key}.parts")
        self._end = self.folder / "end.json"

    def path(self, number: int) -> Path:
        """The file of a part."""
        return self.folder / f"{number:06}.nut"

    def note_end(self, frames: int, duration: int, damage: str) -> None:
        """Keeps what is known once the source was read to its end."""
        atomic_write_json({"frames": frames, "duration": duration, "damage": damage}, self._end)

    def read_end(self) -> dict[str, Any] | None:
        """What :meth:`note_end` keeps, if all parts are there."""
        try:
            end: dict[str, Any] = json.loads(self._end.read_text())
        except (OSError, ValueError):
            return None
        return end if all(path.exists() for path in self.list(end["frames"])) else None

    def list(self, frames: int) -> list[Path]:
        """The parts of so many frames."""
        return [self.path(number) for number in range(-(-frames // PART))]

    def remove(self) -> None:
        """Removes them, and those that earlier commands with other settings have left."""
        name = self.target.name
        for folder in self.target.parent.glob(".*.parts"):
            if folder.name.startswith(f".{name}.") and folder.name.count(".") == name.count(".") + 3:
                shutil.rmtree(folder, ignore_errors=True)


class PartWriter:
    """Encodes frames into parts, of which each file is whole or absent.

    Args:
        parts: Where to.
        source: Whose times and colours the frames have.
        encoder: What encodes them.
    """

    def __init__(self, parts: Parts, source: VideoFile, encoder: Encoder) -> None:
        from av.video.reformatter import VideoReformatter

        self.parts, self.source, self.encoder = parts, source, encoder
        self._reformatter = VideoReformatter()
        self._number: int | None = None
        self._is_broken = False

    def write(self, frame: Frame, pixels: np.ndarray) -> None:
        """Takes the next frame, with the pixels (H, W, 3) that were made of it; none after one that failed.

        Raises:
            DataError: If it cannot be encoded.
            OSError: If the disk is full, or the like.
        """
        if self._is_broken:
            return  # or a part without the frame that failed would pass for whole
        try:
            self._encode(frame, pixels)
        except BaseException:
            self._is_broken = True
            raise

    def _encode(self, frame: Frame, pixels: np.ndarray) -> None:
        if frame.index // PART != self._number:
            self.finish()
            self._open(frame.index // PART, pixels)
        made = to_video_frame(self._reformatter, _pad(pixels, self.encoder), self.source.colours, self.encoder.pix_fmt)
        made.pts, made.time_base, made.duration = frame.pts + LATER, self.source.time_base, frame.duration
        made.pict_type = 0
        self._container.mux(self._stream.encode(made))

    def finish(self) -> None:
        """Ends the part that is open."""
        if self._number is not None:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            with open(self._temporary, "rb+") as file:
                os.fsync(file.fileno())  # a part that has its name is whole, after a power cut too
            os.replace(self._temporary, self.parts.path(self._number))
            self._number = None

    def abandon(self) -> None:
        """Removes the part that is open."""
        if self._number is not None:
            self._number = None
            with suppress(OSError):
                self._container.close()
            self._temporary.unlink(missing_ok=True)

    def _open(self, number: int, pixels: np.ndarray) -> None:
        encoder = self.encoder
        self._temporary = self.parts.path(number).with_suffix(".tmp")
        self._container = load_av().open(os.path.abspath(self._temporary), "w", format="nut")
        self._number = number
        stream = self._container.add_stream(encoder.codec, rate=self.source.rate, options=encoder.options)
        height, width = _pad(pixels[:, :, :1], encoder).shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, encoder.pix_fmt
        context = stream.codec_context
        describe(context, self.source.colours)
        context.time_base = self.source.time_base
        if self.source.aspect:
            context.sample_aspect_ratio = self.source.aspect
        self._stream = stream


def describe(context: Any, colours: Colours) -> None:
    """Tells an encoder, or a container, what numbers mean."""
    context.colorspace, context.color_range = colours.matrix, colours.range
    context.color_primaries, context.color_trc = colours.primaries, colours.transfer


def _pad(pixels: np.ndarray, encoder: Encoder) -> np.ndarray:
    """Repeats the last row and column of (H, W, C) where chroma is halved and a side is odd."""
    form = load_av().VideoFormat(encoder.pix_fmt)
    down, across = (
        -side % (2 // part) for side, part in zip(pixels.shape, (form.chroma_height(2), form.chroma_width(2)))
    )
    return np.pad(pixels, ((0, down), (0, across), (0, 0)), "edge") if down or across else pixels
