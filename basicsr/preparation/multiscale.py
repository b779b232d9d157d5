"""Smaller copies of training images, as Real-ESRGAN trains on (arXiv 2107.10833)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from basicsr.preparation.folder_record import FolderRecord
from basicsr.preparation.output_folders import make_folder, refuse_clashes, refuse_mixing
from basicsr.preparation.parallel import default_workers, map_files
from basicsr.utils.atomic import atomic_path
from basicsr.utils.errors import DataError, UserError
from basicsr.utils.images import list_images, read_image_size


def generate_multiscale(
    input_folder: str | Path,
    output_folder: str | Path,
    scales: Sequence[float] = (0.75, 0.5, 1 / 3),
    shortest_edge: int = 400,
    num_workers: int | None = None,
) -> int:
    """Writes ``NAMET0.png``, ``NAMET1.png`` … for every image: one copy a scale, and one of ``shortest_edge`` pixels.

    Copies are made with Lanczos; those that are there already are left alone, unless their image has changed:
    ``<output_folder>_manifest.jsonl`` says what the folder was made with and from.

    Args:
        input_folder: Images.
        output_folder: Where copies go.
        scales: Factors below 1.
        shortest_edge: Shorter side of the last copy in pixels.
        num_workers: Images at the same time; None: one a core.

    Returns:
        Number of copies.

    Raises:
        UserError: If a scale is not between 0 and 1.
        DataError: If the folder has no image, ``output_folder`` lies in it or was made with other numbers, or copies of
            two images would have equal names; at the end, if images could not be read.
    """
    if not scales or not all(0 < scale < 1 for scale in scales) or shortest_edge < 1:
        raise UserError(f"scales must lie between 0 and 1 and shortest_edge be positive, got {scales}, {shortest_edge}")
    source, target = Path(input_folder), Path(output_folder)
    names = list_images(source)
    if not names:
        raise DataError(f"{source}: no image in this folder")
    refuse_mixing({"input folder": source}, {"output folder": target}, [source / name for name in names])
    refuse_clashes(source, names, lambda name: f"{Path(name).stem}T0.png")
    make_folder(target)
    record = FolderRecord(target, {"scales": list(scales), "shortest_edge": shortest_edge})

    def copy(name: str) -> int:
        return _write_copies(source / name, record, scales, shortest_edge)

    return sum(map_files(copy, names, num_workers or default_workers(), f"multi-scale {source.name}"))


def _write_copies(path: Path, record: FolderRecord, scales: Sequence[float], shortest_edge: int) -> int:
    from PIL import Image

    height, width = read_image_size(str(path))
    factors = [*scales, shortest_edge / min(height, width)]
    wanted = {record.folder / f"{path.stem}T{number}.png": factor for number, factor in enumerate(factors)}
    if record.holds(path.stem, path, list(wanted)):
        return len(wanted)
    try:
        with Image.open(path) as opened:
            # The sizes above and training see EXIF orientation applied.
            image = _turn_upright(opened)
    except (OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: not a readable image ({error})") from error
    for file, factor in wanted.items():
        size = max(1, round(width * factor)), max(1, round(height * factor))
        with atomic_path(file) as temporary:
            image.resize(size, Image.Resampling.LANCZOS).save(temporary, format="PNG")
    record.add(path.stem, path, list(wanted))
    return len(wanted)


def _turn_upright(image):  # type: ignore[no-untyped-def]
    from PIL import ImageOps

    upright = ImageOps.exif_transpose(image)
    upright.load()
    return upright
