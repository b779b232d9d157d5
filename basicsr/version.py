"""The version under the names that BasicSR publishes."""

from __future__ import annotations

import basicsr

__version__: str = basicsr.__version__
__gitsha__ = "unknown"
"""Releases are known by their version; which commit a source tree is at, git knows."""

version_info = tuple(int(part) if part.isdecimal() else part for part in __version__.split("."))
