"""Sub-images of the photographs that are trained on, so that a patch costs the decoding of little more than itself."""

from __future__ import annotations

from itertools import product
from pathlib import Path

from basicsr.preparation.folders import FolderRecord
from basicsr.preparation.running import map_files, refuse_failures
from basicsr.preparation.subimages import list_offsets
from basicsr.starting.survey import Photograph, Survey
from basicsr.utils.images import read_image, write_png

SIDE = 512
"""Of a sub-image, at most; neighbours overlap by the little that fits."""


def cut_photographs(survey: Survey, folder: Path) -> list[str]:
    """Cuts the photographs; what an earlier call has cut of them stays.

    Returns:
        Names of the sub-images, relative to ``folder``; ``<folder>_manifest.jsonl`` says what they are of.

    Raises:
        DataError: If a photograph cannot be read any more, or the folder was cut in another way.
    """
    record = FolderRecord(folder, {"side": SIDE})

    def cut(one: Photograph) -> list[str]:
        stem = f"{Path(one.name).stem[:60]}_{one.digest[:12]}"
        sides = [(length, min(SIDE, length)) for length in (one.height, one.width)]
        rows, columns = (list_offsets(length, side, side) for length, side in sides)
        corners = list(product(rows, columns))
        files = [folder / f"{stem}_s{number:03d}.png" for number in range(1, len(corners) + 1)]
        path = survey.folder / one.name
        if not record.holds(stem, path, files):
            image = read_image(path)
            for file, (top, left) in zip(files, corners):
                write_png(image[top : top + SIDE, left : left + SIDE], file)
            record.add(stem, path, files)
        return [file.name for file in files]

    made = refuse_failures(map_files(cut, survey.train, None, "cut pictures"))
    return [name for names in made for name in names]
