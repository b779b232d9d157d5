"""The flags of training and testing, and a default of other commands' flags; nothing here takes time to load."""

from __future__ import annotations

import argparse
import os

from basicsr.utils.errors import check_file_name

EXIT_CODES = """exit codes:
  0    done
  1    a defect (with a traceback), or another process of the run has ended
  2    wrong options or command line
  3    data or weights missing, unreadable or unfit
  4    the run cannot go on (non-finite losses, memory or disk full)
  130  stopped (Ctrl-C, SIGTERM, SIGHUP or SIGUSR1); all that was trained is in a checkpoint
  143  ended by a second signal, or by the launcher, before a checkpoint was written"""


def available_cores() -> int:
    """Processor cores that this process may use; a scheduler or ``taskset`` may allow fewer than there are."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def file_name(text: str) -> str:
    """The type of a flag that files or folders are named by."""
    try:
        return check_file_name(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def add_import_flag(parser: argparse.ArgumentParser) -> None:
    """Adds ``--import``, which every command has."""
    text = "load a file or package of your own that registers parts, beside those that an option file's `imports` names"
    parser.add_argument("--import", dest="imports", action="append", default=[], metavar="FILE|PACKAGE", help=text)


def build_parser(is_train: bool = True) -> argparse.ArgumentParser:
    """The flags of ``basicsr/train.py`` and ``basicsr/test.py``."""
    parser = argparse.ArgumentParser(
        description=f"{'Train' if is_train else 'Test'} a model as an option file says.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-opt", "--opt", required=True, metavar="FILE", help="the option file (YAML)")
    launcher_help = "how several processes were started; default: pytorch under torchrun, else none"
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm"], help=launcher_help)
    parser.add_argument("--auto_resume", action="store_true", help="go on from the latest checkpoint of this run")
    parser.add_argument("--debug", action="store_true", help="validate and save every 8 iterations, log every one")
    # Older launchers pass this on; the environment says the same.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    force_help = "set options, e.g. train:optim_g:lr=2e-4 network_g:num_block=8 val=null"
    parser.add_argument("--force_yml", nargs="+", action="extend", default=[], metavar="KEY:KEY=VALUE", help=force_help)
    add_import_flag(parser)
    strict_help = "refuse keys that nothing of this package reads, which forks of the framework may have added"
    parser.add_argument("--strict", action="store_true", help=strict_help)
    check_help = "validate everything, build networks and data sets, report their sizes, and stop"
    parser.add_argument("--check", action="store_true", help=check_help)
    return parser
