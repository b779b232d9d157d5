"""Files through a model: reading, enlarging and writing overlap, and a bad file stops none of the others."""

from __future__ import annotations

import logging
import sys
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

from basicsr.analysis.images import BadFile
from basicsr.upscaling.inputs import Job
from basicsr.upscaling.model import Upscaler
from basicsr.upscaling.pictures import Picture, read_picture, write_picture
from basicsr.upscaling.video_files import VideoFile
from basicsr.upscaling.video_parts import Encoding
from basicsr.upscaling.videos import upscale_video
from basicsr.utils.atomic import atomic_path
from basicsr.utils.errors import DataError, explain_machine
from basicsr.utils.images import ImageError, read_image_file, read_image_size
from basicsr.utils.progress import Progress

logger = logging.getLogger("basicsr")

THREADS = 2
"""That read, and that write."""
UNKNOWN_AREA = 10**6
"""Pixels that a picture counts for whose size no file header tells."""
LARGE_AREA = 2**24
"""Pixels beyond which nothing is read ahead."""


@dataclass
class Outcome:
    """What became of files.

    Attributes:
        written: How many results were written.
        skipped: How many were there already.
        bad_files: What could not be used, with the reason.
    """

    written: int = 0
    skipped: int = 0
    bad_files: list[BadFile] = field(default_factory=list)

    def note(self, job: Job, reason: str = "", is_written: bool = True) -> None:
        """Notes what became of a file, with what is wrong with it."""
        self.written += is_written
        if reason:
            self.bad_files.append(BadFile(job.name, reason))


def show_progress(total: int) -> Progress:
    """A bar of so many pixels."""
    return Progress(total, "Upscaling", in_percent=True)


class Pipeline:
    """Enlarges files.

    Args:
        model: Enlarges pictures.
        quality: Of JPEG and WebP files, from 1 to 100.
        batch: Pictures of one size that pass the network at once.
        skip_existing: Leave out what has a result already.
        encoding: Of videos.

    Attributes:
        outcome: What became of files so far.
        on_settled: Told the same of each of them, as :meth:`Outcome.note` is.
    """

    def __init__(
        self,
        model: Upscaler,
        quality: int = 95,
        batch: int = 1,
        skip_existing: bool = False,
        encoding: Encoding = Encoding(),  # noqa: B008 (it cannot be changed)
    ) -> None:
        self.model, self.quality, self.batch, self.skip_existing = model, quality, batch, skip_existing
        self.encoding = encoding
        self.outcome = Outcome()
        self.on_settled: Callable[[Job, str, bool], None] = lambda job, reason, is_written: None
        self._writes: deque[tuple[Job, Future[None]]] = deque()

    def run(self, jobs: Sequence[Job], make_progress: Callable[[int], Progress] = show_progress) -> Outcome:
        """Enlarges the pictures of ``jobs``, in their order, then the videos.

        Args:
            jobs: The files.
            make_progress: Makes what shows how many of so many pixels are done.

        Raises:
            TrainingError: If the machine cannot write any more: the disk is full or the like.
            KeyboardInterrupt: If it is interrupted; results are whole or absent.
        """
        todo = leave_out_existing(jobs) if self.skip_existing else list(jobs)
        self.outcome.skipped = len(jobs) - len(todo)
        todo.sort(key=lambda job: job.is_video)
        areas = [area_of(job) for job in todo]
        num_pictures = sum(not job.is_video for job in todo)
        pictures, areas_of_pictures = todo[:num_pictures], areas[:num_pictures]
        readers, writers = (ThreadPoolExecutor(THREADS, name) for name in ("read", "write"))
        try:
            with make_progress(max(1, sum(areas))) as progress:
                read = self._read_ahead(readers, pictures, areas_of_pictures)
                for group, decoded, ends in self._group(read, areas_of_pictures):
                    self._enlarge(group, decoded, progress, ends, writers)
                self._await_writes(0)
                for job, area in zip(todo[num_pictures:], areas[num_pictures:]):
                    self._enlarge_video(job, area, progress)
        finally:
            for pool in (readers, writers):
                pool.shutdown(wait=True, cancel_futures=True)
            # What was being written is whole by now.
            for job, future in self._writes:
                with suppress(BaseException):
                    future.result()
                    self._settle(job)
        return self.outcome

    def _read_ahead(
        self, pool: ThreadPoolExecutor, jobs: Sequence[Job], areas: Sequence[int]
    ) -> Iterator[tuple[Job, Picture | None]]:
        """Reads pictures while others are enlarged; ``None`` for one that cannot be read."""
        pending: deque[tuple[Job, Future[Picture]]] = deque()
        waiting = deque(zip(jobs, areas))
        while waiting or pending:
            ahead = self.batch + THREADS
            while waiting and len(pending) < ahead and (not pending or waiting[0][1] < LARGE_AREA):
                job, _ = waiting.popleft()
                pending.append((job, pool.submit(_read, job)))
            job, future = pending.popleft()
            try:
                yield job, future.result()
            except DataError as error:
                self._note_bad(job, error)
                yield job, None
            except MemoryError:
                self._note_bad(job, "memory ran out while it was read")
                yield job, None

    def _group(
        self, pictures: Iterator[tuple[Job, Picture | None]], areas: Sequence[int]
    ) -> Iterator[tuple[list[Job], list[Picture], tuple[int, int]]]:
        """Puts pictures of one shape and type that follow each other together; with the progress at start and end."""
        jobs: list[Job] = []
        group: list[Picture] = []
        start = done = 0
        for area, (job, picture) in zip(areas, pictures):
            fits = picture is not None and group and _is_alike(picture, group[0]) and len(group) < self.batch
            if group and not fits:
                yield jobs, group, (start, done)
                jobs, group, start = [], [], done
            done += area
            if picture is not None:
                jobs, group = [*jobs, job], [*group, picture]
        if group:
            yield jobs, group, (start, done)

    def _enlarge(
        self,
        jobs: list[Job],
        pictures: list[Picture],
        progress: Progress,
        ends: tuple[int, int],
        pool: ThreadPoolExecutor,
    ) -> None:
        start, end = ends
        names = jobs[0].name + (f" and {len(jobs) - 1} more" if len(jobs) > 1 else "")
        progress.update(names, start - progress.count)

        def show(done: int, total: int) -> None:
            tiles = f", tile {done} of {total}" if total > 1 else ""
            progress.update(names + tiles, start + (end - start) * done // total - progress.count)

        try:
            made = self.model.enlarge_pictures(pictures, show)
        except DataError as error:
            for job in jobs:
                self._note_bad(job, error)
            return
        if self.model.note:
            logger.warning("%s: %s", names, self.model.note)
        for job, picture in zip(jobs, made):
            self._await_writes(THREADS - 1)
            self._writes.append((job, pool.submit(_write, job, picture, self.quality)))

    def _enlarge_video(self, job: Job, area: int, progress: Progress) -> None:
        end = progress.count + area
        progress.update(job.name, 0)

        def show(pixels: int) -> None:
            progress.update(steps=min(pixels, end - progress.count))

        try:
            damage = upscale_video(job, self.model, self.encoding, self.batch, show)
            if damage:
                logger.error("%s: %s; the rest is in %s", job.name, damage, job.target)
            self._settle(job, damage)
        except DataError as error:
            self._note_bad(job, error)
        except OSError as error:
            self._judge(job, error)
        progress.update(steps=end - progress.count)

    def _await_writes(self, most: int) -> None:
        """Waits until no more than ``most`` results are being written."""
        while len(self._writes) > most:
            job, future = self._writes.popleft()
            try:
                future.result()
                self._settle(job)
            except DataError as error:
                self._note_bad(job, error)
            except OSError as error:
                self._judge(job, error)

    def _judge(self, job: Job, error: OSError) -> None:
        """Notes a result that cannot be written, or raises TrainingError if none can be."""
        error.filename = str(job.target)
        if (explained := explain_machine(error, "repeat the command with --skip-existing")) is not None:
            raise explained from error
        self._note_bad(job, f"{job.target} cannot be written ({error.strerror or error})")

    def _note_bad(self, job: Job, reason: object) -> None:
        text = reason.reason if isinstance(reason, ImageError) else str(reason)
        logger.error("%s: %s; left out", job.name, text)
        self._settle(job, text, False)

    def _settle(self, job: Job, reason: str = "", is_written: bool = True) -> None:
        self.outcome.note(job, reason, is_written)
        self.on_settled(job, reason, is_written)


def _is_alike(one: Picture, other: Picture) -> bool:
    return one.pixels.shape == other.pixels.shape and one.pixels.dtype == other.pixels.dtype


def leave_out_existing(jobs: Iterable[Job]) -> list[Job]:
    """The jobs whose result is not there yet."""
    return [job for job in jobs if not (job.target and job.target.exists())]


def area_of(job: Job) -> int:
    """Pixels of a picture, or of all frames of a video; a guess where its header tells none."""
    if job.source is None:
        return UNKNOWN_AREA
    try:
        if job.is_video:
            with VideoFile(job.source) as source:
                return source.area * max(1, source.num_frames) // job.share[1]
        height, width = read_image_size(job.source)
    except DataError:
        return UNKNOWN_AREA
    return height * width


def _read(job: Job) -> Picture:
    content = sys.stdin.buffer.read() if job.source is None else read_image_file(job.source)
    return read_picture(content, job.name)


def _write(job: Job, picture: Picture, quality: int) -> None:
    suffix = job.suffix or picture.suffix
    if job.target is None:
        write_picture(picture, sys.stdout.buffer, suffix, quality)
        sys.stdout.buffer.flush()
        return
    # Waiting for the disk after every picture would take longer than much else.
    with atomic_path(job.target, durable=False) as temporary, open(temporary, "wb") as file:
        write_picture(picture, file, suffix, quality)
