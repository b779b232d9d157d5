"""Pictures in TensorBoard's event files."""

from __future__ import annotations

from pathlib import Path

import cv2
import google_crc32c
import numpy as np
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from basicsr.evaluation.event_pictures import show_picture
from basicsr.utils.logger import init_tb_logger


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


def test_checksums_are_those_of_tensorboard(tmp_path: Path) -> None:
    from tensorboard.compat.tensorflow_stub import pywrap_tensorflow

    init_tb_logger(tmp_path).close()
    for size in (0, 1, 12, 1001):
        data = np.random.default_rng(size).integers(0, 256, size, dtype=np.uint8).tobytes()
        expected = pywrap_tensorflow.crc_finalize(pywrap_tensorflow.crc_update(pywrap_tensorflow.CRC_INIT, data))
        assert pywrap_tensorflow.crc32c(data) == google_crc32c.value(data) == expected
