"""``basicsr data check`` under its published name; see docs/data.md."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from basicsr.cli import run_script

if __name__ == "__main__":
    sys.exit(run_script("data check"))
