"""The finished video: its parts joined without being encoded again, with the sound and subtitles of its source."""

from __future__ import annotations

import heapq
import io
import itertools
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from basicsr.upscaling.video_files import VideoFile, load_av
from basicsr.upscaling.video_parts import CONTAINERS, LATER, Parts, describe
from basicsr.utils.atomic import atomic_path
from basicsr.utils.errors import DataError

logger = logging.getLogger("basicsr")

_ABOUT_FILE = frozenset({"major_brand", "minor_version", "compatible_brands", "encoder"})
_ABOUT_VIDEO = ("language", "title", "handler_name", "creation_time")


def check_container(source: VideoFile, target: Path) -> None:
    """Says beforehand what of a source the container of ``target`` does not take.

    Raises:
        DataError: If it is sound.
    """
    with load_av().open(io.BytesIO(), "w", format=CONTAINERS[target.suffix.lower()]) as trial:
        copied = _copy_streams(trial, source)
    for stream in source.container.streams:
        if stream.index not in copied and stream != source.stream:
            if stream.type == "audio":
                raise DataError(f"{target.suffix} files cannot hold its sound ({_name_of(stream)}); take .mkv")
            kept = stream.type == "subtitle"
            reason = f"which {target.suffix} files do not hold" if kept else "as all but sound, subtitles and one video"
            logger.warning("%s: %s (%s) left out, %s", source.container.name, stream.type, _name_of(stream), reason)


def _name_of(stream: Any) -> str:
    return stream.codec_context.name if stream.codec_context else "unknown"


def _copy_streams(result: Any, source: VideoFile) -> dict[int, Any]:
    """Adds what is copied to a container: sound and subtitles that it takes; by their place in the source."""
    copied = {}
    for stream in source.container.streams:
        if stream.type not in ("audio", "subtitle"):
            continue
        try:
            copied[stream.index] = result.add_stream_from_template(stream)
        except ValueError:
            continue
        copied[stream.index].metadata.update(stream.metadata)
        copied[stream.index].disposition = stream.disposition
    return copied


def join(source: VideoFile, parts: Parts, end: Mapping[str, Any]) -> None:
    """Writes the finished video: its parts, and all else that the source holds and the container takes, unchanged.

    Args:
        source: The source, opened anew.
        parts: All parts.
        end: What :meth:`Parts.read_end` gives.

    Raises:
        DataError: If the container does not take it.
        OSError: If the disk is full, or the like.
    """
    av = load_av()
    files, kind = parts.list(end["frames"]), CONTAINERS[parts.target.suffix.lower()]
    options = {"movflags": "+faststart"} if kind in ("mp4", "mov") else {}
    with (
        atomic_path(parts.target) as temporary,
        av.open(os.path.abspath(files[0])) as first,
        av.open(os.path.abspath(temporary), "w", format=kind, container_options=options) as result,
    ):
        video = result.add_stream_from_template(first.streams.video[0], opaque=True)
        video.time_base = source.time_base
        describe(video.codec_context, source.colours)  # which some encoders leave to the container
        known = source.stream.metadata
        video.metadata.update({key: known[key] for key in _ABOUT_VIDEO if key in known})
        video.disposition = source.stream.disposition
        copied = _copy_streams(result, source)
        result.metadata.update({key: v for key, v in source.container.metadata.items() if key not in _ABOUT_FILE})
        if chapters := source.container.chapters():
            result.set_chapters(chapters)
        packets = _video_packets(files, source.time_base, end["duration"], video)
        for _, packet in heapq.merge(packets, _copied_packets(source, copied), key=lambda entry: entry[0]):
            result.mux(packet)


Timed = tuple[Fraction, Any]
"""A packet with the second at which it is due."""


def _video_packets(files: Sequence[Path], time_base: Fraction, duration: int, stream: Any) -> Iterator[Timed]:
    """The packets of all parts, with one row of decoding times."""
    shown = [[round(packet.pts * packet.time_base / time_base) - LATER for packet in _packets(file)] for file in files]
    ordered = sorted(itertools.chain.from_iterable(shown))
    ranks = {pts: rank for rank, pts in enumerate(ordered)}
    # A packet must be decoded before it is shown: so many packets come before their turn.
    first, delay = 0, 0
    for part in shown:
        delay = max(delay, *(first + place - ranks[pts] for place, pts in enumerate(part)))
        first += len(part)
    step = max(1, (ordered[min(delay, len(ordered) - 1)] - ordered[0]) // max(1, delay))
    due = itertools.chain((ordered[0] - (delay - place) * step for place in range(delay)), ordered)
    ends = [*ordered[1:], ordered[-1] + max(1, duration)]
    for file, part in zip(files, shown):
        for packet, pts in zip(_packets(file), part):
            packet.stream, packet.time_base = stream, time_base
            packet.pts, packet.dts, packet.duration = pts, next(due), ends[ranks[pts]] - pts
            yield packet.dts * time_base, packet


def _packets(file: Path) -> Iterator[Any]:
    with load_av().open(str(file)) as part:
        yield from (packet for packet in part.demux(video=0) if packet.pts is not None)


def _copied_packets(source: VideoFile, streams: Mapping[int, Any]) -> Iterator[Timed]:
    """The packets of the source's other streams, as they are."""
    av = load_av()
    packets = source.container.demux([source.container.streams[index] for index in streams]) if streams else iter(())
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            return  # the source is cut short, as is said of its frames
        if packet is None:
            return
        time = packet.dts if packet.dts is not None else packet.pts
        if time is not None and packet.size:
            entry = time * packet.time_base, packet
            packet.stream = streams[packet.stream_index]
            yield entry
