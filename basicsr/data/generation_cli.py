"""The command line that the data-set generators share."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence

from basicsr.data.generation import GenerationRecipe, generate_dataset
from basicsr.utils.errors import UserError


def run(
    description: str,
    make_recipe: Callable[[int, int], GenerationRecipe],
    default_scale: int,
    argv: Sequence[str] | None = None,
) -> int:
    """Parses the flags and generates; returns the exit code."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="folder of photographs")
    parser.add_argument("--hr_folder", required=True, help="where the high-resolution images go")
    parser.add_argument("--lr_folder", required=True, help="where the low-resolution images and the manifest go")
    parser.add_argument("--scale", type=int, default=default_scale, help="reduction (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=233, help="part of every image's key (default: %(default)s)")
    parser.add_argument("--num_workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    parser.add_argument(
        "--shard",
        type=_parse_shard,
        default=_shard_from_launcher(),
        metavar="INDEX/COUNT",
        help="do every COUNT-th image from INDEX on, such as $SLURM_ARRAY_TASK_ID/8 (default: torchrun's rank, or all)",
    )
    args = parser.parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        recipe = make_recipe(args.scale, args.seed)
        failures = generate_dataset(
            recipe, args.input, args.hr_folder, args.lr_folder, num_workers=args.num_workers, shard=args.shard
        )
    except UserError as error:
        sys.stderr.write(f"error: {error}\n")
        return error.exit_code
    except KeyboardInterrupt:
        sys.stderr.write("stopped; run the same command again to continue\n")
        return 130
    if failures:
        sys.stderr.write(f"{len(failures)} images could not be done:\n" + "\n".join(failures) + "\n")
    return 1 if failures else 0


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
