"""Downloads that resume, check themselves and never leave a torn file."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import logging
import os
import shutil
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from pathlib import Path
from typing import NamedTuple

import torch.hub
from tqdm import tqdm

from basicsr.utils.atomic import StrPath, hash_file
from basicsr.utils.errors import DataError, UserError, WeightsError, first_line

_SCHEMES = ("http", "https", "ftp")


class Checksum(NamedTuple):
    """A published digest.

    Attributes:
        algorithm: A name that :mod:`hashlib` knows, ``sha256`` or ``md5``.
        digest: Hexadecimal, lower case; or the beginning of it, where no more is published.
    """

    algorithm: str
    digest: str

    def matches(self, path: StrPath) -> bool:
        """Whether the file has this digest."""
        return hash_file(path, hashlib.new(self.algorithm)).startswith(self.digest)


def download_file(
    url: str, path: StrPath, checksum: Checksum | None = None, progress: bool = True, error: type[UserError] = DataError
) -> Path:
    """Downloads ``url`` to ``path``; a file that is there and fits its checksum is left alone.

    What has arrived is kept in ``<path>.part``. A later call goes on from there if the server can and the file on the
    server is still the same (its ETag or date is remembered beside the part), and starts over otherwise. Of several
    processes that want one file, one fetches it.

    Args:
        url: ``http``, ``https`` or ``ftp``.
        path: Where the whole file goes.
        checksum: What it must be, if that is published.
        progress: Show a progress bar.
        error: What to raise.

    Returns:
        ``path``.

    Raises:
        UserError: As ``error``, if the server cannot be reached, stops early, or sends another file than expected; the
            message says where to put the file by hand.
    """
    target = Path(path)
    if _is_good(target, checksum):
        return target
    if urllib.parse.urlparse(url).scheme not in _SCHEMES:
        raise error(f"cannot download {url}: expected {', '.join(_SCHEMES)}; a file on this machine goes to {target}")
    part = target.with_name(f"{target.name}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with _alone(part):
            # Another process may have fetched it meanwhile.
            if not _is_good(target, checksum):
                _fetch_whole(url, part, target, checksum, progress, error)
    except OSError as cause:
        raise error(
            f"{target} cannot be written ({first_line(cause)}); choose another folder, or put the file of {url} there"
        ) from cause
    return target


def _is_good(target: Path, checksum: Checksum | None) -> bool:
    """Whether a file is there and is what it must be."""
    if not target.is_file():
        return False
    if checksum is None or checksum.matches(target):
        return True
    logging.getLogger("basicsr").warning("%s does not fit its %s; fetching it again", target, checksum.algorithm)
    return False


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Lets one process of a machine after the other go through the block."""
    lock = part.with_name(f"{part.name}.lock")
    while True:
        file = open(lock, "w")  # noqa: SIM115
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
                break
        file.close()  # the process before has removed it: those who come now lock another file
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)
        file.close()


def _fetch_whole(
    url: str, part: Path, target: Path, checksum: Checksum | None, progress: bool, error: type[UserError]
) -> None:
    """Completes ``part``, checks it, and gives it its name."""
    tag_file = part.with_name(f"{part.name}.tag")
    try:
        _fetch(url, part, tag_file, progress)
    except (OSError, http.client.HTTPException, ValueError) as cause:
        kept = f"; {part.stat().st_size:,} bytes are kept and the next try goes on from there" if part.exists() else ""
        raise error(
            f"cannot download {url} ({first_line(cause)}){kept}. Try again with a network connection, "
            f"or fetch the file elsewhere and put it at {target}"
        ) from cause
    # Check it before it gets its name.
    tag_file.unlink(missing_ok=True)
    if checksum is not None and not checksum.matches(part):
        part.unlink()
        raise error(
            f"{url}: the downloaded file does not have the published {checksum.algorithm} {checksum.digest} and was "
            f"removed; try again, or put a good copy at {target}"
        )
    os.replace(part, target)


def _fetch(url: str, part: Path, tag_file: Path, progress: bool) -> None:
    """Completes ``part``; ``tag_file`` keeps the ETag (or date) of the file on the server that the part belongs to."""
    tag = tag_file.read_text() if tag_file.exists() else ""
    # Without a tag nobody knows whether the part belongs to the file that is on the server now.
    offset = part.stat().st_size if tag and part.exists() else 0
    headers = {"User-Agent": "basicsr", "Accept-Encoding": "identity"}
    if offset:
        headers |= {"Range": f"bytes={offset}-", "If-Range": tag}
    try:
        response = urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=30)
    except urllib.error.HTTPError as refusal:
        if not offset or refusal.code != HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        # The part has nothing left to ask for, though it was not found to be complete: start over.
        part.unlink()
        tag_file.unlink()
        _fetch(url, part, tag_file, progress)
        return
    with response:
        if response.status != HTTPStatus.PARTIAL_CONTENT:
            offset = 0
        tag_file.write_text(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")
        length = response.headers.get("Content-Length")
        total = offset + int(length) if length else None
        counted = tqdm.wrapattr(response, "read", total, initial=offset, desc=part.stem, disable=not progress)
        with counted as content, open(part, "ab" if offset else "wb") as file:
            shutil.copyfileobj(content, file, 1 << 20)
            file.flush()
            os.fsync(file.fileno())
    if total is not None and part.stat().st_size != total:
        raise OSError(f"the connection ended after {part.stat().st_size:,} of {total:,} bytes")


def download_file_from_google_drive(file_id: str, save_path: StrPath) -> None:
    """Published name of a download that Google Drive does not serve to programs any more.

    Raises:
        WeightsError: If the file is not there already; the message says what to fetch and where to put it.
    """
    if not os.path.isfile(save_path):
        url = f"https://drive.google.com/file/d/{file_id}/view"
        raise WeightsError(
            f"{save_path}: not there, and Google Drive serves it to browsers only; save {url} as this file"
        )


def load_file_from_url(
    url: str, model_dir: str | None = None, progress: bool = True, file_name: str | None = None
) -> str:
    """Gives the local path of a weights file, downloading it if it is not there.

    Args:
        url: Where it is published.
        model_dir: Folder for it; None: ``checkpoints`` in torch's hub folder.
        progress: Show a progress bar.
        file_name: Name for it; None: the last part of the URL.

    Returns:
        The absolute path.

    Raises:
        WeightsError: If it is absent and cannot be downloaded; the message says where to put it.
    """
    folder = os.path.join(torch.hub.get_dir(), "checkpoints") if model_dir is None else model_dir
    name = file_name or os.path.basename(urllib.parse.urlparse(url).path)
    if not name:
        raise WeightsError(f"{url} names no file; pass file_name")
    path = Path(folder).expanduser().resolve() / name
    if not path.is_file():
        logging.getLogger("basicsr").info("downloading %s to %s", url, path)
        download_file(url, path, progress=progress, error=WeightsError)
    return str(path)
