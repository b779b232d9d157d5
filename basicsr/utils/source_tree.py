"""The source tree that the package is run from."""

from __future__ import annotations

import subprocess
from pathlib import Path


def find_commit() -> str:
    """The commit of the source tree that this package is run from, ``-dirty`` behind it if files have changed since.

    Empty where the package is no part of a tree of Git's, or Git is absent.
    """
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""
