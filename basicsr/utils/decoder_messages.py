"""What OpenCV's decoders say of damage while they decode: on the process's standard error, and nowhere else.

libjpeg fills up what a damaged file lacks, reports success and writes a line to descriptor 2; libtiff's errors go there
too. So the descriptor points to a file in memory during a call, and what is not a decoder's is passed on.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
import threading

import cv2
import numpy as np

from basicsr.utils.pixel_limit import explain_excess

# A directory or field that cannot be read says nothing about the pixels of the first picture.
_DAMAGE = re.compile(r"(?:Corrupt JPEG data|Premature end of JPEG file|(?<=TIFF_Error )(?!TIFFReadDir|TIFFFetch)).*")
# OpenCV's own messages may go over several lines, which start with >.
_OF_DECODERS = re.compile(r"^\[ *(?:ERROR|WARN|FATAL).*(?:grfmt_|imgcodecs|loadsave|bitstrm)|^>|^Warning: .*JFIF")


_LARGE = 2**20
"""Bytes."""


class _Ear:
    """Listens to descriptor 2 for one call at a time; threads wait for each other, and a fork for them."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self._sink: int | None = None
        self._num_read = 0
        os.register_at_fork(
            before=self.lock.acquire, after_in_parent=self.lock.release, after_in_child=self._start_in_child
        )

    def _start_in_child(self) -> None:
        if self._sink is not None:
            # Two processes must not share what they hear.
            os.close(self._sink)
            self._sink = None
        self.lock.release()

    def open_sink(self) -> int:
        """The file in memory, of this process."""
        if self._sink is None:
            self._num_read = 0
            if hasattr(os, "memfd_create"):
                self._sink = os.memfd_create("decoder")
            else:
                with tempfile.TemporaryFile() as file:
                    self._sink = os.dup(file.fileno())
            # Threads that write at the same time must not write over each other.
            fcntl.fcntl(self._sink, fcntl.F_SETFL, os.O_APPEND)
        return self._sink

    def read_sink(self) -> bytes:
        """What was written since the last time; nothing is the rule.

        What another thread is writing while the descriptor goes back arrives later, so that the file only grows; it is
        emptied once it is large.
        """
        sink = self.open_sink()
        size = os.fstat(sink).st_size
        if size == self._num_read:
            return b""
        heard = os.pread(sink, size - self._num_read, self._num_read)
        self._num_read = size
        if size > _LARGE:
            os.ftruncate(sink, 0)
            self._num_read = 0
        return heard


_EAR = _Ear()


def decode_and_listen(content: bytes, flags: int) -> tuple[np.ndarray | None, str]:
    """Decodes an image by OpenCV.

    Args:
        content: The file.
        flags: OpenCV's ``imread`` flags.

    Returns:
        The image, or None; and the first thing that a decoder said of damage, or an empty text.

    Raises:
        OverflowError: If it has more pixels than the limit.
    """
    with _EAR.lock:
        try:
            former = os.dup(2)
        except OSError:
            # A process without standard error.
            return decode_by_opencv(content, flags), ""
        sink = _EAR.open_sink()
        try:
            os.dup2(sink, 2)
            image = decode_by_opencv(content, flags)
        finally:
            os.dup2(former, 2)
            os.close(former)
        heard = _EAR.read_sink()
    return image, _sort_out(heard) if heard else ""


def _sort_out(heard: bytes) -> str:
    """Passes on what no decoder said; returns the first thing that was said of damage."""
    damage, others, decoders_spoke = "", [], False
    for line in heard.splitlines(keepends=True):
        text = line.decode(errors="replace").strip()
        if found := _DAMAGE.search(text):
            damage = damage or found[0]
        if found or (text and _OF_DECODERS.search(text)):
            decoders_spoke = True
        elif text or not decoders_spoke:
            others.append(line)
    if others:
        os.write(2, b"".join(others))
    return damage


def decode_by_opencv(content: bytes, flags: int) -> np.ndarray | None:
    """The image, or None if OpenCV cannot read it; raises ``OverflowError`` if it has too many pixels."""
    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:
        if "MAX_IMAGE_PIXELS" in str(error):
            raise OverflowError(explain_excess()) from None
        return None
