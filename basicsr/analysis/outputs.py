"""Where results go and what they came from: places are tried before the work, and replaced results are named."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from basicsr.analysis.images import digest_file
from basicsr.utils.errors import UserError

logger = logging.getLogger("basicsr")

SOURCE = "source"
"""Key under which a result's JSON file says what it was computed from."""

_MOST_SHOWN = 3


def describe_file(path: str | os.PathLike[str]) -> dict[str, str]:
    """Where a file is, and the digest of its content."""
    return {"path": os.path.abspath(path), "digest": digest_file(path)}


def prepare_output(base: str | os.PathLike[str], source: Mapping[str, Any] | None = None) -> None:
    """Makes the folder of ``<base>.*`` and tries to write there, so that a long computation is not in vain.

    Args:
        base: Path of the results without suffix.
        source: What they will be computed from. A warning is logged if ``<base>.json`` came from something else.

    Raises:
        UserError: If nothing can be written there.
    """
    with writing(base):
        folder = Path(base).parent
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    if source is not None:
        _warn_of_replacement(Path(f"{base}.json"), source)


@contextmanager
def writing(base: str | os.PathLike[str]) -> Iterator[None]:
    """Turns failures to write in the block into a :class:`UserError` that names the place."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{base}: results cannot be written there ({error.strerror or error})") from error


def _warn_of_replacement(path: Path, source: Mapping[str, Any]) -> None:
    if not path.is_file():
        return
    try:
        former = json.loads(path.read_text(encoding="utf-8"))[SOURCE]
    except (OSError, ValueError, KeyError, TypeError):
        logger.warning("%s will be replaced; it does not say what it was computed from", path)
        return
    before, after = _flatten(former), _flatten(json.loads(json.dumps(source)))
    changes = [
        f"{key} was {before.get(key, 'absent')}, is {after.get(key, 'absent')}"
        for key in {**before, **after}
        if before.get(key) != after.get(key)
    ]
    if changes:
        shown = "; ".join(changes[:_MOST_SHOWN]) + (" …" if len(changes) > _MOST_SHOWN else "")
        logger.warning("%s will be replaced, which was computed from something else: %s", path, shown)


def _flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    if not isinstance(value, Mapping):
        return {prefix: value}
    return {
        key: leaf
        for name, inner in value.items()
        for key, leaf in _flatten(inner, f"{prefix}.{name}".strip(".")).items()
    }
