"""Shared fixtures. Tests never touch the network, and keep torch on one thread: networks are tiny here."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))
torch.set_num_threads(1)
