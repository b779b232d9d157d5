"""Utilities; the names that BasicSR publishes here are those of :mod:`basicsr.utils.published`."""

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    # Looked up when somebody asks: most of them need torch, which errors and command lines must not load.
    # Options are read in a room above; like any other code, this finds them at their published path.
    published = importlib.import_module(f"{__name__}.{'options' if name == 'yaml_load' else 'published'}")
    if name == "__all__":
        return [key for key in vars(published) if not key.startswith("_")]
    return globals().get(name) or getattr(published, name)
