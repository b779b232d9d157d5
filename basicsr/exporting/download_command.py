"""``basicsr download``: fetches files of weights by name to where they are looked for."""

from __future__ import annotations

import argparse
import logging
import sys
from pathlib import Path

_WHERE = (
    "folder to put them in; default: experiments/pretrained_models, and torch hub's cache for torchvision's networks"
)


def add_download_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_download`."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="weights to fetch; --list shows the names")
    parser.add_argument("--list", action="store_true", help="show all names, and which of them are on this machine")
    parser.add_argument("-o", "--output", metavar="DIR", type=Path, help=_WHERE)
    parser.add_argument("--base_url", metavar="URL", help="a mirror that holds all files in one folder")


def run_download(args: argparse.Namespace) -> int:
    """Fetches what is named; goes on with the next name if one cannot be had, and returns the exit status."""
    from basicsr.utils.errors import UserError, WeightsError
    from basicsr.utils.fields import suggest
    from basicsr.weights.obtaining import fetch
    from basicsr.weights.published import list_known

    known = list_known()
    by_file = {entry.file: entry for entry in known.values()}
    if args.list:
        _print_list()
        return 0
    if not args.names:
        raise UserError("name what to fetch; `basicsr download --list` shows all names")
    unknown = [name for name in args.names if name not in known and name not in by_file]
    if unknown:
        raise UserError(
            f"no weights are known as {unknown[0]}{suggest(unknown[0], known)}; see basicsr download --list"
        )
    status = 0
    for name in dict.fromkeys(args.names):
        try:
            path = fetch(known.get(name) or by_file[name], args.output, args.base_url or "")
        except WeightsError as error:
            logging.getLogger("basicsr").error("%s", error)
            status = error.exit_code
        else:
            sys.stdout.write(f"{name}: {path}\n")
            sys.stdout.flush()
    return status


def _print_list() -> None:
    from basicsr.weights.obtaining import find_local
    from basicsr.weights.published import list_known

    for name, entry in list_known().items():
        found = find_local(entry)
        what = entry.purpose or f"{entry.network['type']}{f' ×{entry.scale}' if entry.scale else ', a critic'}"
        size = f", {entry.size / 2**20:.0f} MB" if entry.size else ""
        place = f"here: {found}" if found else entry.url or entry.describe()
        sys.stdout.write(f"{name}\n    {what}{size}; {entry.licence}, {entry.source}\n    {place}\n")
