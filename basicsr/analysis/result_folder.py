"""Where scores are written: beside those of other images or settings, never over them."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr.utils.figures import FIGURE_FORMATS

logger = logging.getLogger("basicsr")

REPORT = "report.json"
SETTINGS = "settings"
FIGURES = ("contact_sheet", "scatter")


def choose_folder(folder: Path, settings: Mapping[str, Any]) -> Path:
    """The folder itself, or one beside it if it holds anything but the scores of these very settings.

    The other's name ends in a digest of the settings, so that a command that is repeated replaces its own results.

    Args:
        folder: Where scores would best be.
        settings: All that scores depend on, as it will stand in ``report.json``.
    """
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return folder
    plain = json.loads(json.dumps(settings))
    former = _read_settings(folder)
    if former == plain:
        return folder
    digest = hashlib.blake2b(json.dumps(plain, sort_keys=True).encode(), digest_size=4).hexdigest()
    beside = folder.with_name(f"{folder.name}-{digest}")
    changed = [key for key in plain if former.get(key) != plain[key]] if former else []
    reason = f"scores of other settings ({', '.join(changed)} changed)" if changed else "something else"
    logger.warning("%s holds %s; these scores go to %s", folder, reason, beside)
    return beside


def clear_figures(folder: Path) -> None:
    """Takes the figures of earlier scores away, which do not belong to those about to be written."""
    if (folder / REPORT).is_file():
        for name in FIGURES:
            for kind in FIGURE_FORMATS:
                (folder / f"{name}.{kind}").unlink(missing_ok=True)


def _read_settings(folder: Path) -> dict[str, Any]:
    try:
        settings = json.loads((folder / REPORT).read_text(encoding="utf-8"))[SETTINGS]
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return settings if isinstance(settings, dict) else {}
