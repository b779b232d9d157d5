"""Options: reading, validating and completing option files.

:func:`parse_options` does all of it. ``load`` reads YAML, ``schema`` is the one typed model, ``validate`` finds every
mistake with its place, ``derive`` adds folders and ranks, ``reference`` writes the page of all options.
"""

from basicsr.options.findings import Findings, MissingFilesError
from basicsr.options.load import apply_overrides, load_file, load_text
from basicsr.options.parse import (
    copy_opt_file,
    dict2str,
    dump_options,
    load_dataset_options,
    load_options,
    parse_options,
)
from basicsr.options.schema import RunOptions
from basicsr.options.validate import validate_dataset_file, validate_options

__all__ = [
    "Findings",
    "MissingFilesError",
    "RunOptions",
    "apply_overrides",
    "copy_opt_file",
    "dict2str",
    "dump_options",
    "load_dataset_options",
    "load_file",
    "load_options",
    "load_text",
    "parse_options",
    "validate_dataset_file",
    "validate_options",
]
