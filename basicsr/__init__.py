"""basicsr: super-resolution training with spatial and spectral discriminators; ``load_model`` enlarges pictures."""

from importlib import import_module
from typing import Any

from basicsr.utils.left_out import explain_missing_parts

__version__: str
__all__ = ["__version__", "load_model"]

explain_missing_parts()


def __getattr__(name: str) -> Any:
    # Sub-packages and the version are looked up when somebody asks: they take longer than anything else before a
    # command can answer Ctrl-C.
    if name in ("archs", "data", "losses", "metrics", "models", "utils", "train", "test"):
        return import_module(f"basicsr.{name}")
    if name == "load_model":
        room = "upscaling"
        return import_module(f"basicsr.{room}.model").load_model
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("basicsr")
    except PackageNotFoundError:  # run from a source tree that was never installed
        return "0+unknown"
