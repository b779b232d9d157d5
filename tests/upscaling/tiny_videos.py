"""Clips that are encoded in a moment, and what is in a video file."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

TICKS = 90000
STEP = TICKS // 25
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 9: (0.2627, 0.0593)}
"""Of red and blue in luma, by the number of the matrix (ITU-T H.273)."""


def wave(index: int, height: int, width: int) -> np.ndarray:
    """A smooth picture (H, W, 3) in [0, 1] that moves."""
    rows, columns = np.mgrid[:height, :width]
    shifts = (rows / 9 + columns / 11 + index / 5, rows / 10 - index / 7, columns / 12 + index / 3)
    return np.stack([0.5 + 0.35 * np.sin(shift) for shift in shifts], axis=2)


def to_planes(rgb: np.ndarray, matrix: int, full: bool, bits: int) -> np.ndarray:
    """Luma and chroma (3, H, W) of RGB in [0, 1], as the standards define them (ITU-R BT.601, BT.709, BT.2020)."""
    red, blue = WEIGHTS[matrix]
    luma = rgb @ np.array([red, 1 - red - blue, blue])
    chroma = [(rgb[..., 2] - luma) / (2 - 2 * blue), (rgb[..., 0] - luma) / (2 - 2 * red)]
    if full:
        most = 2**bits - 1
        levels = [luma * most, *(one * most + 2 ** (bits - 1) for one in chroma)]
    else:
        levels = [(16 + 219 * luma) * 2 ** (bits - 8), *((128 + 224 * one) * 2 ** (bits - 8) for one in chroma)]
    return np.rint(np.stack(levels)).astype(np.uint8 if bits == 8 else np.uint16)


def to_rgb(planes: np.ndarray, matrix: int, full: bool, bits: int) -> np.ndarray:
    """The inverse of :func:`to_planes`."""
    levels = planes.astype(float)
    if full:
        luma, chroma = levels[0] / (2**bits - 1), (levels[1:] - 2 ** (bits - 1)) / (2**bits - 1)
    else:
        levels /= 2 ** (bits - 8)
        luma, chroma = (levels[0] - 16) / 219, (levels[1:] - 128) / 224
    red, blue = WEIGHTS[matrix]
    b, r = luma + chroma[0] * (2 - 2 * blue), luma + chroma[1] * (2 - 2 * red)
    return np.stack([r, (luma - red * r - blue * b) / (1 - red - blue), b], axis=2)


def make_clip(
    path: Path | str,
    times: Sequence[int] | int = 6,
    height: int = 16,
    width: int = 24,
    *,
    matrix: int = 6,
    full: bool = False,
    pix_fmt: str = "yuv420p",
    codec: str = "libx264",
    sound: str = "",
    subtitles: str = "",
    rotation: float = 0,
    aspect: Fraction | None = None,
    is_tagged: bool = True,
) -> Path:
    """Writes a clip with frames at ``times``, in ticks, or so many at 25 a second; its colours are :func:`wave`."""
    times = [STEP * index for index in range(times)] if isinstance(times, int) else times
    bits = 10 if "10" in pix_fmt else 8
    options = {"crf": "0", "g": "4"} if codec == "libx264" else {}
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(25), options=options)
        stream.height, stream.width, stream.pix_fmt = height, width, pix_fmt
        stream.metadata["language"] = "fra"
        if rotation:
            stream.set_display_rotation(rotation)
        context = stream.codec_context
        ticks = 25 if codec == "mpeg4" else TICKS
        context.time_base = Fraction(1, ticks)
        if is_tagged:
            context.colorspace, context.color_range = matrix, 2 if full else 1
            context.color_primaries = context.color_trc = matrix
        if aspect:
            context.sample_aspect_ratio = aspect
        others = _add_sound(container, sound) if sound else None
        text = container.add_mux_stream(subtitles, time_base=Fraction(1, 1000)) if subtitles else None
        for index, pts in enumerate(times):
            frame = make_frame(to_planes(wave(index, height, width), matrix, full, bits))
            frame = frame if frame.format.name == pix_fmt else frame.reformat(format=pix_fmt)
            frame.pts, frame.time_base = pts * ticks // TICKS, Fraction(1, ticks)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if others is not None:
            container.mux(others)
        if text is not None:
            packet = av.Packet(b"words")
            packet.stream, packet.time_base, packet.pts, packet.dts, packet.duration = (
                text,
                Fraction(1, 1000),
                40,
                40,
                80,
            )
            container.mux(packet)
    return Path(path)


def _add_sound(container: Any, codec: str) -> list[Any]:
    stream = container.add_stream(codec, rate=48000)
    stream.metadata["title"] = "commentary"
    wave_form = np.sin(np.arange(48000 // 5) / 20)
    layout = "s16" if codec == "libopus" else "fltp"
    if layout == "fltp":
        frame = av.AudioFrame.from_ndarray(np.stack([wave_form, wave_form]).astype(np.float32), "fltp", "stereo")
    else:
        samples = (wave_form * 8000).astype(np.int16).repeat(2)[None]
        frame = av.AudioFrame.from_ndarray(samples, "s16", "stereo")
    frame.sample_rate, frame.pts = 48000, 0
    return [*stream.encode(frame), *stream.encode(None)]


def make_frame(planes: np.ndarray) -> Any:
    """A frame whose chroma is not halved, of (3, H, W) uint8, or of uint16 with 10 bits."""
    frame = av.VideoFrame(planes.shape[2], planes.shape[1], "yuv444p" if planes.dtype == np.uint8 else "yuv444p10le")
    for plane, levels in zip(frame.planes, planes):
        rows = np.frombuffer(memoryview(plane), planes.dtype).reshape(len(levels), -1).copy()
        rows[:, : levels.shape[1]] = levels
        plane.update(rows.tobytes())
    return frame


def read_planes(frame: Any) -> np.ndarray:
    """The inverse of :func:`make_frame`."""
    kind = np.uint16 if "10" in frame.format.name else np.uint8
    rows = [np.frombuffer(memoryview(plane), kind).reshape(frame.height, -1) for plane in frame.planes]
    return np.stack([one[:, : frame.width] for one in rows])


def list_packets(path: Path | str, kind: str) -> list[tuple[Fraction, bytes]]:
    """The packets of the first stream of a kind, with their seconds."""
    with av.open(str(path)) as container:
        stream = next(stream for stream in container.streams if stream.type == kind)
        return [(one.pts * one.time_base, bytes(one)) for one in container.demux(stream) if one.pts is not None]


def list_frames(path: Path | str) -> list[tuple[Fraction, np.ndarray]]:
    """The frames of a video, (H, W, 3) uint8, with their seconds."""
    with av.open(str(path)) as container:
        frames = list(container.decode(video=0))
    return [(one.pts * one.time_base, one.to_ndarray(format="rgb24")) for one in frames]
