"""How all commands read flags and show help, and the flags of training and testing; nothing here takes time to load."""

from __future__ import annotations

import argparse
import os
import re
import textwrap

from basicsr.utils.errors import check_file_name

EXIT_CODES = """exit codes:
  0    done
  1    a defect (with a traceback), or another process of the run has ended
  2    wrong options or command line
  3    data or weights missing, unreadable or unfit
  4    the run cannot go on (non-finite losses, memory or disk full)
  130  stopped (Ctrl-C, SIGTERM, SIGHUP or SIGUSR1); all that was trained is in a checkpoint
  143  ended by a second signal, or by the launcher, before a checkpoint was written"""


class HelpFormatter(argparse.HelpFormatter):
    """Wraps texts to the terminal, keeps indented lines for copying, and shows defaults, except empty ones."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        # Runs of plain lines are paragraphs; an empty or indented line stands for itself.
        blocks = re.findall(r"(?:^\S.*\n?)+|^ .*$|^$", text.strip("\n"), re.MULTILINE)
        return "\n".join(self._fill_block(block, width, indent) for block in blocks)

    @staticmethod
    def _fill_block(block: str, width: int, indent: str) -> str:
        column = re.match(r" +\S+ {2,}", block)  # of a table in two columns
        if block.startswith(" ") and column is None:
            return indent + block
        head = column[0] if column else ""
        text = " ".join(block[len(head) :].split())
        return textwrap.fill(text, width, initial_indent=indent + head, subsequent_indent=indent + " " * len(head))

    def _get_help_string(self, action: argparse.Action) -> str | None:
        is_empty = action.default is None or action.default is False or action.default == argparse.SUPPRESS
        if action.help is None or is_empty or not action.option_strings:
            return action.help
        values = action.default if isinstance(action.default, (list, tuple)) else [action.default]
        shown = " ".join(f"{value:g}" if isinstance(value, float) else str(value) for value in values)
        return f"{action.help} (default: {shown.replace('%', '%%')})" if values else action.help


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


def add_force_flag(parser: argparse.ArgumentParser) -> None:
    """Adds ``--force_yml``, which changes an option file."""
    text = "set options, e.g. train:optim_g:lr=2e-4 network_g:num_block=8 val=null"
    parser.add_argument("--force_yml", nargs="+", action="extend", default=[], metavar="KEY:KEY=VALUE", help=text)


def build_parser(is_train: bool = True) -> argparse.ArgumentParser:
    """The parser of ``basicsr/train.py`` and ``basicsr/test.py``."""
    verb = "train" if is_train else "test"
    parser = argparse.ArgumentParser(
        description=f"{verb.title()} a model as an option file says.",
        epilog=f"example:\n  basicsr {verb} -opt options/{verb}/quickstart.yml\n\n{EXIT_CODES}",
        formatter_class=HelpFormatter,
    )
    add_train_arguments(parser)
    return parser


def add_train_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the flags of training and testing."""
    parser.add_argument("-opt", "--opt", required=True, metavar="FILE", help="the option file (YAML)")
    launcher_help = "how several processes were started; default: pytorch under torchrun, else none"
    parser.add_argument("--launcher", choices=["none", "pytorch", "slurm"], help=launcher_help)
    parser.add_argument("--auto_resume", action="store_true", help="go on from the latest checkpoint of this run")
    parser.add_argument("--debug", action="store_true", help="validate and save every 8 iterations, log every one")
    # Older launchers pass this on; the environment says the same.
    parser.add_argument("--local_rank", "--local-rank", type=int, default=0, help=argparse.SUPPRESS)
    add_force_flag(parser)
    add_import_flag(parser)
    strict_help = "refuse keys that nothing of this package reads, which forks of the framework may have added"
    parser.add_argument("--strict", action="store_true", help=strict_help)
    check_help = "validate everything, build networks and data sets, report their sizes, and stop"
    parser.add_argument("--check", action="store_true", help=check_help)


def add_options_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`basicsr.options.parse.run_options_command`."""
    parser.add_argument("names", nargs="*", metavar="PART", help="parts such as train or networks; default: all")
    parser.add_argument("-opt", "--opt", metavar="FILE", help="load the parts that this option file imports")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema of option files instead")
    parser.add_argument("--write", metavar="PAGE", help="renew the generated parts of a page and the shipped schema")
