"""``basicsr new``: lists templates, copies one, or writes an option file for photographs; flags load no PyTorch."""

from __future__ import annotations

import argparse
from pathlib import Path

from basicsr.analysis.arguments import print_result
from basicsr.utils.arguments import file_name
from basicsr.utils.errors import UserError

PHOTOS = "photos"
EXAMPLES = """examples:
  basicsr new                                          list the templates
  basicsr new photos --data photos/ --scale 4          train on your own photographs
  basicsr new photos --data scans/ --scale 2 --kind real -o scans_x2.yml
  basicsr new quickstart -o quickstart.yml             copy a template"""


def add_new_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of :func:`run_new`."""
    parser.epilog = EXAMPLES
    parser.add_argument("template", nargs="?", help=f"{PHOTOS}, or the name of a template; without it, all are listed")
    parser.add_argument("-o", "--output", metavar="FILE", help="the option file; default: NAME.yml in this folder")
    parser.add_argument("--force", action="store_true", help="replace files that are there")
    group = parser.add_argument_group("photos")
    group.add_argument(
        "--data", metavar="DIR", help="folder of pictures, with all that is below it; nothing is changed"
    )
    group.add_argument("--scale", type=int, choices=(2, 4), help="output pixels per input pixel; default: 4")
    text = "what will be enlarged: sharp small pictures, or blurred, noisy and compressed ones; default: clean"
    group.add_argument("--kind", choices=("clean", "real"), help=text)
    group.add_argument("--name", type=file_name, help="of the run; default: photos_KIND_xSCALE, or the name of FILE")
    text = "pixel: closest to the original; dualformer: sharper, by critics of images and of spectra; default: pixel"
    group.add_argument("--objective", choices=("pixel", "dualformer"), help=text)
    text = "weights to begin with, as `basicsr upscale -m` takes them; default: faithful, grown to the size"
    group.add_argument("--start", metavar="MODEL", help=text)
    text = "make sub-images of the pictures once, which load faster than large pictures"
    group.add_argument("--cut", action="store_true", default=None, help=text)
    group.add_argument(
        "--device", dest="on_device", help="where it will run: cpu, cuda …; default: a GPU if there is one"
    )


_DEFAULTS = {"scale": 4, "kind": "clean", "objective": "pixel", "start": "faithful", "on_device": "auto", "cut": False}


def run_new(args: argparse.Namespace) -> int:
    """Does what the command line says; returns the exit status."""
    if args.template == PHOTOS:
        from basicsr.starting.photos import run_photos

        if not args.data:
            raise UserError("basicsr new photos needs --data DIR, the folder of your photographs")
        for name, value in _DEFAULTS.items():
            setattr(args, name, value if getattr(args, name) is None else getattr(args, name))
        commands = run_photos(args)
        print_result("next:\n" + "\n".join(f"  {command}" for command in commands.values()))
        return 0
    for name in ("data", "name", *_DEFAULTS):
        if getattr(args, name) is not None:
            raise UserError(f"--{name.removeprefix('on_')} is for `basicsr new {PHOTOS}`")
    if args.template is None:
        if args.output:
            raise UserError("-o needs the name of a template; `basicsr new` lists them")
        print_templates()
        return 0
    copy_template(args.template, Path(args.output or f"{args.template}.yml"), args.force)
    return 0


def print_templates() -> None:
    """Prints the names of all templates with a line each."""
    from basicsr.starting.templates import describe_template, list_templates

    lines = {PHOTOS: "Your own photographs (--data DIR)"}
    lines |= {name: describe_template(file) for name, file in list_templates().items()}
    width = max(map(len, lines))
    print_result("\n".join(f"{name:{width}}  {line}" for name, line in lines.items()))
    print_result("copy one: basicsr new NAME -o FILE.yml")


def copy_template(name: str, target: Path, is_forced: bool) -> None:
    """Copies a template.

    Raises:
        UserError: If there is none of this name, something is at ``target``, or it cannot be written.
    """
    from basicsr.starting.templates import read_template
    from basicsr.utils.atomic import atomic_write_text

    text = read_template(name, target)
    if target.is_dir():
        raise UserError(f"-o {target} is a folder; name a file in it, such as {target / f'{name}.yml'}")
    if target.exists() and not is_forced:
        raise UserError(f"{target} is there already; choose another file with -o, or replace it with --force")
    try:
        atomic_write_text(text, target)
    except OSError as error:
        raise UserError(f"{target} cannot be written ({error.strerror}); name a file elsewhere with -o") from error
    print_result(f"wrote {target}\nnext:\n  basicsr train -opt {target} --check")
