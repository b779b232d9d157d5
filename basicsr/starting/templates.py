"""The shipped option files, listed and copied: a wheel has them beside the rooms, a checkout in ``options/train``."""

from __future__ import annotations

import re
from pathlib import Path

import basicsr
from basicsr.utils.errors import UserError
from basicsr.utils.fields import suggest

_PACKAGE = Path(basicsr.__file__).parent
PLACES = (_PACKAGE / "templates", _PACKAGE.parent / "options" / "train")
"""Of an installed wheel (``setup.py`` puts them there), and of a checkout."""

_SCHEMA = re.compile(r"^# yaml-language-server:.*\n")
_COMMAND = re.compile(r"python basicsr/train\.py -opt options/train/(\S+)\.yml")


def list_templates() -> dict[str, Path]:
    """The shipped option files for training, by name.

    Raises:
        UserError: If this installation has none.
    """
    folder = next((place for place in PLACES if any(place.glob("*.yml"))), None)
    if folder is None:
        raise UserError(f"this installation lacks the option files ({PLACES[0]}); install it anew")
    return {file.stem: file for file in sorted(folder.glob("*.yml"))}


def describe_template(file: Path) -> str:
    """The first sentence of the comment that an option file begins with."""
    lines = []
    for line in _SCHEMA.sub("", file.read_text(encoding="utf-8")).splitlines():
        if not line.startswith("# "):
            break
        lines.append(line[2:].strip())
    return re.split(r"(?<=[.:])\s", " ".join(lines), maxsplit=1)[0].rstrip(".:")


def read_template(name: str, target: Path) -> str:
    """The text of a template, as it is copied to ``target``: its schema and its own command are found from there.

    Raises:
        UserError: If there is no such template; the message gives the nearest name.
    """
    files = list_templates()
    if name not in files:
        raise UserError(f"{name} is no template{suggest(name, [*files, 'photos'])}; `basicsr new` lists them")
    text = files[name].read_text(encoding="utf-8")
    schema = f"# yaml-language-server: $schema={_PACKAGE / 'options' / 'schema.json'}\n"
    own = lambda match: f"basicsr train -opt {target}" if match[1] == name else match[0]  # noqa: E731
    return _COMMAND.sub(own, _SCHEMA.sub(lambda _: schema, text))
