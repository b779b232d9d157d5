"""A video through a model: decoding, enlarging and encoding overlap, and few frames are in memory at once."""

from __future__ import annotations

import hashlib
import json
import logging
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from basicsr.upscaling import video_parts
from basicsr.upscaling.inputs import Job
from basicsr.upscaling.model import Upscaler
from basicsr.upscaling.pictures import Picture
from basicsr.upscaling.video_files import Frame, VideoFile, load_av
from basicsr.upscaling.video_joining import check_container, join
from basicsr.upscaling.video_parts import Encoder, Encoding, Parts, PartWriter, choose_encoder
from basicsr.utils.errors import DataError, explain_machine, first_line

logger = logging.getLogger("basicsr")

AHEAD = 2
"""Batches that are decoded, and frames that wait to be encoded, while others are enlarged."""

OnPixels = Callable[[int], None]


def upscale_video(
    job: Job, model: Upscaler, encoding: Encoding, batch: int, on_pixels: OnPixels = lambda done: None
) -> str:
    """Enlarges a video, or this process's share of it; goes on where an earlier command stopped.

    Args:
        job: The file, its target, and the share: of all parts of frames, every ``n``-th.
        model: Enlarges frames.
        encoding: How the result is encoded.
        batch: Frames that pass the network at once.
        on_pixels: Told how many more pixels of the source are done, again and again.

    Returns:
        What of the source could not be read, while the rest is done; mostly nothing.

    Raises:
        DataError: If it cannot be read as a video, or memory runs out.
        UserError: If there is no such encoder.
        OSError: If the disk is full, or the like.
    """
    assert job.source and job.target
    av = load_av()
    try:
        with VideoFile(job.source) as source:
            encoder = choose_encoder(encoding, job.target.suffix.lower(), source.is_deep)
            check_container(source, job.target)
            parts = Parts(job.target, _make_key(job.source, model, encoder))
            if (end := parts.read_end()) is None:
                _enlarge_parts(source, parts, job.share, encoder, model, batch, on_pixels)
                end = parts.read_end()
            else:
                on_pixels(end["frames"] * source.area)
        if end is None or job.share[1] > 1:
            return ""  # others have parts to make, too
        with VideoFile(job.source) as source:
            join(source, parts, end)
    except av.FFmpegError as error:
        if isinstance(error, OSError) and explain_machine(error) is not None:
            raise  # for the one who knows what to do about full disks
        raise DataError(f"{job.target} cannot be made of it ({first_line(error)})") from error
    parts.remove()
    return str(end["damage"])


def _make_key(source: Path, model: Upscaler, encoder: Encoder) -> str:
    """Names all that the parts depend on."""
    state = source.stat()
    known = [state.st_size, state.st_mtime_ns, model.fingerprint(), encoder, video_parts.PART]
    return hashlib.sha256(json.dumps(known).encode()).hexdigest()[:12]


def _enlarge_parts(
    source: VideoFile,
    parts: Parts,
    share: tuple[int, int],
    encoder: Encoder,
    model: Upscaler,
    batch: int,
    on_pixels: OnPixels,
) -> None:
    """Makes the missing parts of a share, and notes the end of the source."""
    parts.folder.mkdir(parents=True, exist_ok=True)
    own, count = share

    def is_wanted(index: int) -> bool:
        number = index // video_parts.PART
        return number % count == own and not parts.path(number).exists()

    deep = source.is_deep or encoder.is_deep
    writer = PartWriter(parts, source, encoder)
    reader, encoding = (ThreadPoolExecutor(1, name) for name in ("decode", "encode"))
    writes: deque[Future[None]] = deque()
    last: Frame | None = None
    try:
        for group in _in_groups(_read_ahead(reader, source.frames(deep, is_wanted), batch), batch):
            last = group[-1]
            wanted = [frame for frame in group if frame.pixels.size]
            if wanted:
                made = model.enlarge_pictures([Picture(frame.pixels) for frame in wanted])
                for frame, picture in zip(wanted, made):
                    while len(writes) >= AHEAD * batch:
                        writes.popleft().result()
                    writes.append(encoding.submit(writer.write, frame, picture.pixels))
            on_pixels(source.area * sum(frame.index // video_parts.PART % count == own for frame in group))
        for write in writes:
            write.result()
        writer.finish()
    finally:
        reader.shutdown(wait=True, cancel_futures=True)
        encoding.shutdown(wait=True)  # what is enlarged may complete a part
        writer.abandon()
    if last is None:
        raise DataError("holds no frame that can be decoded")
    parts.note_end(last.index + 1, last.duration, source.describe_damage())


def _read_ahead(pool: ThreadPoolExecutor, frames: Iterator[Frame], batch: int) -> Iterator[Frame]:
    """Decodes while others are enlarged, a bounded number of frames ahead."""
    pending = deque(pool.submit(next, frames, None) for _ in range(AHEAD * batch))
    while (frame := pending.popleft().result()) is not None:
        pending.append(pool.submit(next, frames, None))
        yield frame


def _in_groups(frames: Iterator[Frame], size: int) -> Iterator[list[Frame]]:
    """As many frames as pass the network at once, of those that do; in their order."""
    group: list[Frame] = []
    for frame in frames:
        if group and bool(frame.pixels.size) != bool(group[0].pixels.size):
            yield group
            group = []
        group.append(frame)
        if len(group) == size:
            yield group
            group = []
    if group:
        yield group
