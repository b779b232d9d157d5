"""Synthesises a second-order test set from a folder of photographs.

    python scripts/generate_realesrgan_dataset.py --input DIR --hr_folder DIR --lr_folder DIR --scale 8 [--seed 233]

Run it again to continue where it stopped. On several machines give each its part with --shard INDEX/COUNT, or start it
under torchrun. Make single images again, elsewhere, from the manifest that lies beside the LR folder:

    python scripts/generate_realesrgan_dataset.py --reproduce LR_manifest.json --only NAME [NAME ...] \\
        --input DIR --hr_folder OTHER_DIR --lr_folder OTHER_DIR

Exit codes: 0 all done, 1 some images could not be done (they are listed), 2 wrong arguments, 3 nothing could be started
or written, 130 stopped.
"""

from __future__ import annotations

import sys

from basicsr.engine.exits import run_to_exit_code


def main() -> int:
    from basicsr.preparation.generation import run_generation
    from basicsr.preparation.generation_recipes import second_order_recipe

    return run_generation(__doc__ or "", second_order_recipe, default_scale=8)


if __name__ == "__main__":
    sys.exit(run_to_exit_code(main))
