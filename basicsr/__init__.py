"""basicsr: super-resolution training with spatial and spectral discriminators."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("basicsr")
except PackageNotFoundError:  # run from a source tree that was never installed
    __version__ = "0+unknown"

__all__ = ["__version__"]
