"""BasicSR's published path of the functions that read options."""

from basicsr.options.load import ordered_yaml, yaml_load
from basicsr.options.parse import copy_opt_file, dict2str
from basicsr.options.published import parse_options

__all__ = ["copy_opt_file", "dict2str", "ordered_yaml", "parse_options", "yaml_load"]
