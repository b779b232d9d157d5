"""``python -m basicsr`` is the ``basicsr`` command; so is ``torchrun -m basicsr``."""

from __future__ import annotations

import sys

from basicsr.cli import main

if __name__ == "__main__":
    sys.exit(main())
