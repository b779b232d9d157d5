"""Pictures in TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from basicsr.evaluation.event_pictures import show_picture


def test_event_files_hold_the_pixels_that_were_shown(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (12, 20, 3), dtype=np.uint8)
    with SummaryWriter(str(tmp_path)) as writer:
        show_picture(writer, "Set5/a b", picture, 300)
        writer.add_image("by PyTorch", picture, 300, dataformats="HWC")
    events = EventAccumulator(str(tmp_path)).Reload()
    for tag in ("Set5/a b", "by PyTorch"):
        (event,) = events.Images(tag)
        assert (event.step, event.height, event.width) == (300, 12, 20)
        shown = cv2.imdecode(np.frombuffer(event.encoded_image_string, np.uint8), cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(shown[..., ::-1], picture)
