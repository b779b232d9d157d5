"""Reads files by name from a folder or from LMDB databases, behind one call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from basicsr.utils.atomic import StrPath
from basicsr.utils.errors import DataError, UserError

_ENVIRONMENTS: dict[tuple[int, str], Any] = {}
"""Databases that are open, by process and path: LMDB forbids a process to open one twice, whoever reads it."""


class HardDiskBackend:
    """Files on disk."""

    def get(self, filepath: StrPath, client_key: str = "default") -> bytes:
        """The file's bytes; raises ``OSError`` if it cannot be read."""
        return Path(filepath).read_bytes()


class LmdbBackend:
    """Values of one or several LMDB databases.

    A database is opened on first use and again in every process that reads it: an environment that was open before a
    fork must not be used after it.

    Args:
        db_paths: Database folder(s).
        client_keys: A name for each of them, e.g. ``gt`` and ``lq``.
        readonly: As in ``lmdb.open``.
        lock: As in ``lmdb.open``; readers of a finished database need none.
        readahead: As in ``lmdb.open``.

    Raises:
        UserError: If there are not as many keys as paths.
    """

    def __init__(
        self,
        db_paths: StrPath | Sequence[StrPath],
        client_keys: str | Sequence[str] = "default",
        readonly: bool = True,
        lock: bool = False,
        readahead: bool = False,
    ) -> None:
        paths = [db_paths] if isinstance(db_paths, (str, os.PathLike)) else list(db_paths)
        keys = [client_keys] if isinstance(client_keys, str) else list(client_keys)
        if len(paths) != len(keys):
            raise UserError(f"LMDB backend: {len(paths)} db_paths but {len(keys)} client_keys; give one key a path")
        self.db_paths = {key: str(path) for key, path in zip(keys, paths)}
        self._flags = {"readonly": readonly, "lock": lock, "readahead": readahead}

    def get(self, filepath: StrPath, client_key: str = "default") -> bytes:
        """The value stored under ``filepath`` in the database ``client_key``.

        Raises:
            DataError: If there is no such database or entry, or the database cannot be opened.
        """
        with self._open(client_key).begin(write=False) as transaction:
            value = transaction.get(os.fsencode(filepath))
        if value is None:
            raise DataError(f"{self.db_paths[client_key]}: no entry {str(filepath)!r}")
        return bytes(value)

    def find_missing(self, keys: Iterable[str], client_key: str = "default") -> list[str]:
        """Those of the keys that the database does not hold; no value is read. Raises as :meth:`get`."""
        with self._open(client_key).begin(write=False) as transaction, transaction.cursor() as cursor:
            return [key for key in keys if not cursor.set_key(os.fsencode(key))]

    def _open(self, client_key: str) -> Any:
        if client_key not in self.db_paths:
            raise DataError(f"no LMDB database is called {client_key!r}; there are: {', '.join(self.db_paths)}")
        path = self.db_paths[client_key]
        # Those that a forked process inherits must not be used in it, nor be open there when it opens its own.
        for inherited in [identity for identity in _ENVIRONMENTS if identity[0] != os.getpid()]:
            _ENVIRONMENTS.pop(inherited).close()
        identity = (os.getpid(), os.path.realpath(path))
        if identity not in _ENVIRONMENTS:
            import lmdb

            try:
                environment = lmdb.open(path, **self._flags)
            except lmdb.Error as error:
                raise DataError(f"{path}: not a readable LMDB database ({error})") from error
            # A page that the file lacks would end the process when it is read.
            whole = (environment.info()["last_pgno"] + 1) * environment.stat()["psize"]
            file = Path(path, "data.mdb") if os.path.isdir(path) else Path(path)
            if (size := file.stat().st_size) < whole:
                environment.close()
                raise DataError(f"{file}: cut short, {size:,} of {whole:,} bytes; copy or make the database again")
            _ENVIRONMENTS[identity] = environment
        return _ENVIRONMENTS[identity]


_BACKENDS: dict[str, type[HardDiskBackend | LmdbBackend]] = {"disk": HardDiskBackend, "lmdb": LmdbBackend}


class FileClient:
    """Picks a backend by name.

    Args:
        backend: ``disk`` or ``lmdb``.
        **kwargs: The backend's own arguments (``db_paths`` and ``client_keys`` for ``lmdb``).

    Raises:
        UserError: For another backend.
    """

    def __init__(self, backend: str = "disk", **kwargs: Any) -> None:
        if backend not in _BACKENDS:
            raise UserError(
                f"io_backend.type {backend!r} is not supported; use disk, or pack the files with "
                "basicsr data lmdb and use lmdb"
            )
        self.backend = backend
        self.client = _BACKENDS[backend](**kwargs)

    def get(self, filepath: StrPath, client_key: str = "default") -> bytes:
        """The file's bytes; ``client_key`` chooses the database and is not used on disk."""
        return self.client.get(filepath, client_key)

    def get_text(self, filepath: StrPath, client_key: str = "default") -> str:
        """The file as UTF-8 text."""
        return self.get(filepath, client_key).decode("utf-8")
