"""The command line that the data-set generators share."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from basicsr.preparation.command import run_command
from basicsr.preparation.generation import GenerationRecipe, generate_dataset, reproduce_dataset
from basicsr.utils.arguments import available_cores

DEFAULT_SEED = 233


def run(
    description: str,
    make_recipe: Callable[[int, int], GenerationRecipe],
    default_scale: int,
    argv: Sequence[str] | None = None,
) -> int:
    """Parses the flags and generates.

    Returns:
        Exit code: 0, or 1 if some images could not be done, which are then listed.

    Raises:
        DataError, KeyboardInterrupt: As :func:`run_command`.
        OptionsError: If the scale is out of range.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="folder of photographs")
    parser.add_argument("--hr_folder", required=True, help="where the high-resolution images go")
    parser.add_argument("--lr_folder", required=True, help="where the low-resolution images and the manifest go")
    parser.add_argument("--scale", type=int, help=f"reduction (default: {default_scale})")
    parser.add_argument("--seed", type=int, help=f"part of every image's key (default: {DEFAULT_SEED})")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="do these images alone, named as under --input")
    parser.add_argument(
        "--reproduce",
        metavar="MANIFEST",
        help="make images again with the parameters in this <lr_folder>_manifest.json, from the same --input",
    )
    parser.add_argument("--num_workers", type=int, default=available_cores(), help="processes (default: one a core)")
    parser.add_argument(
        "--shard",
        type=_parse_shard,
        default=_shard_from_launcher(),
        metavar="INDEX/COUNT",
        help="do every COUNT-th image from INDEX on, such as $SLURM_ARRAY_TASK_ID/8 (default: torchrun's rank, or all)",
    )
    args = parser.parse_args(argv)
    if args.reproduce is not None and (args.scale, args.seed) != (None, None):
        parser.error("--reproduce takes scale and seed from the manifest; leave out --scale and --seed")

    def generate() -> int:
        folders = (args.input, args.hr_folder, args.lr_folder)
        common: dict[str, Any] = {"num_workers": args.num_workers, "shard": args.shard, "only": args.only}
        if args.reproduce is not None:
            failures = reproduce_dataset(args.reproduce, *folders, **common)
        else:
            scale = default_scale if args.scale is None else args.scale
            recipe = make_recipe(scale, DEFAULT_SEED if args.seed is None else args.seed)
            failures = generate_dataset(recipe, *folders, **common)
        if failures:
            sys.stderr.write(f"{len(failures)} images could not be done:\n" + "\n".join(failures) + "\n")
        return 1 if failures else 0

    return run_command(generate)


def _parse_shard(text: str) -> tuple[int, int]:
    try:
        index, count = (int(part) for part in text.split("/"))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected INDEX/COUNT, such as 0/4, got {text!r}") from None
    if not 0 <= index < count:
        raise argparse.ArgumentTypeError(f"expected 0 <= INDEX < COUNT, got {text!r}")
    return index, count


def _shard_from_launcher() -> tuple[int, int]:
    """This process's part under torchrun; everything otherwise."""
    return int(os.environ.get("RANK", 0)), int(os.environ.get("WORLD_SIZE", 1))
