"""Synthesises a second-order test set from a folder of photographs.

    python scripts/generate_realesrgan_dataset.py --input DIR --hr_folder DIR --lr_folder DIR --scale 8 [--seed 233]

Run it again to continue where it stopped. On several machines give each its part with --shard INDEX/COUNT, or start it
under torchrun. Exit codes: 0 all done, 1 some images could not be done (they are listed), 3 nothing could be started.
"""

from __future__ import annotations

import sys

from basicsr.data.generation import second_order_recipe
from basicsr.data.generation_cli import run

if __name__ == "__main__":
    sys.exit(run(__doc__ or "", second_order_recipe, default_scale=8))
