"""Options: reading, validating and freezing option files.

One call, :func:`parse_options`, does all of it. Its parts: ``load`` (YAML), ``overrides`` (``--force_yml``), ``schema``
(the closed frame), ``signature`` and ``blocks`` (what a ``type:`` block may contain), ``consistency`` (what has to fit
together), ``derive`` (what follows), ``frozen`` (nothing writes them after).
"""

from basicsr.options.dump import dict2str, dump_options, options_digest
from basicsr.options.findings import Findings, MissingFilesError
from basicsr.options.load import load_file, load_text
from basicsr.options.overrides import apply_overrides
from basicsr.options.parse import build_parser, copy_opt_file, load_dataset_options, load_options, parse_options
from basicsr.options.validate import validate_dataset_file, validate_options
from basicsr.utils.frozen import FrozenOptions, freeze, thaw

__all__ = [
    "Findings",
    "FrozenOptions",
    "MissingFilesError",
    "apply_overrides",
    "build_parser",
    "copy_opt_file",
    "dict2str",
    "dump_options",
    "freeze",
    "load_dataset_options",
    "load_file",
    "load_options",
    "load_text",
    "options_digest",
    "parse_options",
    "thaw",
    "validate_dataset_file",
    "validate_options",
]
