"""A run's hold on its folder: a file beside it names the process, so that no two runs write there at once.

The file is all there is to it, as locks of the system do not reach over every network file system: it is made
exclusively, touched while the run lives, and removed at its end.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from basicsr.utils.atomic import StrPath
from basicsr.utils.dist_util import get_dist_info
from basicsr.utils.errors import TrainingError
from basicsr.utils.launcher import identify_machine, is_alive, read_start

logger = logging.getLogger("basicsr")

HEARTBEAT_S = 20.0
STALE_AFTER_S = 300.0
"""A process on another machine that has not touched its file for so long is taken for dead."""
WAIT_LIMIT_S = 1200.0
"""Less than processes wait for each other (``dist_params.timeout``)."""
POLL_S = 2.0
SETTLE_S = 1.0
"""Two processes that find a dead one's file at once both replace it; after this time both see who came last."""


@dataclass(frozen=True)
class Holder:
    """The process that a file names.

    Attributes:
        token: Different for every hold.
        host: Name of its machine.
        machine: Since when the machine is up, and which of its containers it is: where process ids mean the same.
        pid: Process id.
        started: When the process began, in ticks since the machine is up: ids are used again.
    """

    token: str
    host: str
    machine: str
    pid: int
    started: str

    @classmethod
    def this_process(cls) -> Holder:
        """A new hold of this process."""
        return cls(secrets.token_hex(8), socket.gethostname(), identify_machine(), os.getpid(), read_start("self"))

    def is_dead(self) -> bool | None:
        """Whether the process has ended; ``None`` if that cannot be seen from here."""
        if self.machine != identify_machine():
            return None
        return not is_alive(self.pid) or read_start(str(self.pid)) != self.started

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class FolderHold:
    """The hold of this process on a folder, which need not be there.

    Args:
        folder: The folder; the file is ``.<name>.lock`` beside it.
    """

    def __init__(self, folder: StrPath) -> None:
        self.folder = Path(folder)
        self.file = self.folder.with_name(f".{self.folder.name}.lock")
        self.me = Holder.this_process()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="heartbeat", daemon=True)

    def acquire(self, waits: bool) -> None:
        """Takes the folder; that of a dead process too.

        Args:
            waits: Whether to wait for another run to end, as one that goes on does; for 20 minutes at most.

        Raises:
            TrainingError: If another run holds it.
        """
        self.file.parent.mkdir(parents=True, exist_ok=True)
        since, said_at = time.monotonic(), -float("inf")
        while not self._try():
            other = self._read()
            who = f"{other or 'another process'} ({self.file})"
            now = time.monotonic()
            if not waits or now - since > WAIT_LIMIT_S:
                what_to_do = "wait for its end, stop it, or choose another name"
                raise TrainingError(f"{self.folder} belongs to a run that is at work, {who}: {what_to_do}")
            if now - said_at >= 60:
                logger.info("Waiting for %s, which is at work in %s.", who, self.folder)
                said_at = now
            time.sleep(POLL_S)
        self._thread.start()

    def check(self) -> None:
        """Makes sure that the folder is still this process's, before anything is written there.

        Raises:
            TrainingError: If another run has taken it, e.g. because this process was suspended for minutes.
        """
        other = self._read()
        if other != self.me and not (other is None and self._make()):
            raise TrainingError(f"{other or 'another process'} has taken {self.folder}; this run ends without saving")

    def release(self) -> None:
        """Lets go of the folder, if it is still this process's."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        with suppress(OSError):
            if self._read() == self.me:
                self.file.unlink()

    def _try(self) -> bool:
        """Makes the file, or replaces that of a dead process."""
        if self._make():
            return True
        other = self._read()
        if other is None and not self.file.exists():
            return self._make()
        is_dead = other.is_dead() if other else None
        if is_dead is False or (is_dead is None and not self._is_old()):
            return False
        logger.warning("%s has ended without letting go of %s; taking it over.", other or "A process", self.folder)
        os.replace(self._write_beside(), self.file)
        time.sleep(SETTLE_S)
        return self._read() == self.me

    def _make(self) -> bool:
        try:
            with open(self.file, "x", encoding="utf-8") as file:
                json.dump(asdict(self.me), file)
        except FileExistsError:
            return False
        return True

    def _read(self) -> Holder | None:
        """Who holds the folder; ``None`` where there is no file, or one that is just being made."""
        try:
            return Holder(**json.loads(self.file.read_text(encoding="utf-8")))
        except (FileNotFoundError, ValueError, TypeError):
            return None

    def _is_old(self) -> bool:
        """Whether the file has not been touched for long, by the clock of the file system."""
        own = self._write_beside()
        try:
            return own.stat().st_mtime - self.file.stat().st_mtime > STALE_AFTER_S
        except FileNotFoundError:
            return False
        finally:
            own.unlink()

    def _write_beside(self) -> Path:
        own = self.file.with_name(f"{self.file.name}.{self.me.token}")
        own.write_text(json.dumps(asdict(self.me)), encoding="utf-8")
        return own

    def _beat(self) -> None:
        while not self._ended.wait(HEARTBEAT_S):
            # A server that cannot be reached for a while is no reason to stop.
            with suppress(OSError):
                if self._read() == self.me:
                    os.utime(self.file)


@contextmanager
def hold_folder(folder: StrPath, waits: bool = False) -> Iterator[FolderHold | None]:
    """Holds a folder meanwhile; only rank 0 does, which is the one that writes there.

    Raises:
        TrainingError: If another run holds it; see :meth:`FolderHold.acquire`.
    """
    if get_dist_info()[0] != 0:
        yield None
        return
    hold = FolderHold(folder)
    hold.acquire(waits)
    try:
        yield hold
    finally:
        hold.release()
