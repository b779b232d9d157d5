"""BasicSR's public names for reading options; the work is done in :mod:`basicsr.options`.

The imports stand inside the functions because that package builds on this one.
"""

from __future__ import annotations

import argparse
import os
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from basicsr.utils.frozen import FrozenOptions


def parse_options(
    root_path: str | os.PathLike[str], is_train: bool = True, argv: Sequence[str] | None = None
) -> tuple[FrozenOptions, argparse.Namespace]:
    """See :func:`basicsr.options.parse_options`."""
    from basicsr.options.parse import parse_options as parse

    return parse(root_path, is_train, argv)


def copy_opt_file(opt_file: str | os.PathLike[str], experiments_root: str | os.PathLike[str]) -> None:
    """See :func:`basicsr.options.copy_opt_file`."""
    from basicsr.options.parse import copy_opt_file as copy_file

    copy_file(opt_file, experiments_root)


def dict2str(opt: Mapping[str, Any], indent_level: int = 1) -> str:
    """See :func:`basicsr.options.dict2str`."""
    from basicsr.options.dump import dict2str as write

    return write(opt, indent_level)


def yaml_load(f: str | os.PathLike[str]) -> dict[str, Any]:
    """Reads a YAML file, or YAML text, as plain nested data; nothing is validated.

    Raises:
        OptionsError: If it is not a YAML block, or a key is given twice.
    """
    from basicsr.options.load import load_file, load_text
    from basicsr.utils.errors import OptionsError

    is_text = isinstance(f, str) and not os.path.isfile(f) and ("\n" in f or ":" in f)
    loaded = load_text(str(f)) if is_text else load_file(Path(f))
    if loaded.problems:
        raise OptionsError(loaded.problems, loaded.source)
    return loaded.data


def ordered_yaml() -> tuple[type, type]:
    """A YAML loader and dumper that keep the order of keys.

    Python's own dicts do so, and the loader's result is one; the dumper also writes ``OrderedDict``.
    """
    from basicsr.options.load import OptionLoader

    class OrderedDumper(yaml.SafeDumper):
        pass

    def represent(dumper: yaml.SafeDumper, data: Mapping[str, Any]) -> yaml.Node:
        return dumper.represent_mapping("tag:yaml.org,2002:map", data.items())

    OrderedDumper.add_representer(dict, represent)
    OrderedDumper.add_representer(OrderedDict, represent)
    return OptionLoader, OrderedDumper
