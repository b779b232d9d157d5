# For type checkers and editors; at run time, names are looked up when somebody asks.
from basicsr.utils.options import yaml_load as yaml_load
from basicsr.utils.published import *  # noqa: F403
