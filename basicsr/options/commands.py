"""``basicsr options``: the reference of all options, also of parts of one's own, and the JSON schema."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from basicsr.options.load import load_file
from basicsr.options.reference import SCHEMA_FILE, list_parts, renew_page, write_part, write_schema
from basicsr.utils.atomic import atomic_write_text
from basicsr.utils.errors import UserError
from basicsr.utils.imports import import_parts, list_imports, list_kept


def run(args: argparse.Namespace) -> int:
    """Prints or writes what the flags ask for; returns the exit code.

    Raises:
        UserError: If a name is unknown or a file cannot be read.
    """
    named = [*list_imports(load_file(args.opt).data), *list_kept(args.opt)] if args.opt else []
    import_parts([*args.imports, *named], args.opt)
    if args.schema:
        text = write_schema()
    elif args.write:
        page = Path(args.write)
        atomic_write_text(renew_page(page.read_text(encoding="utf-8")), page)
        atomic_write_text(write_schema(only_own=True), SCHEMA_FILE)
        return 0
    else:
        text = describe_options(args.names)
    sys.stdout.write(text)
    return 0


def describe_options(names: Sequence[str]) -> str:
    """Parts of the reference, parts of other packages included; all of it for no names.

    Raises:
        UserError: If there is no part of such a name.
    """
    unknown = [name for name in names if name not in list_parts()]
    if unknown:
        raise UserError(f"there is no part {unknown[0]} of the options; known: {', '.join(list_parts())}")
    return "\n".join(f"## {name}\n\n{write_part(name, only_own=False)}" for name in names or list_parts())
