"""Pictures, lists, opinions and databases as nobody would want them, and as people have them."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import skimage.data
from PIL import Image, PngImagePlugin

from basicsr.utils.lmdb_util import make_lmdb_from_imgs

PHOTOGRAPH = skimage.data.astronaut()[40:136, 180:276]


def _mode(mode: str, ending: str, **params: object) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        Image.fromarray(PHOTOGRAPH).convert(mode).save(folder / f"odd{ending}", **params)

    return write


def _size(height: int, width: int, ending: str = ".png") -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        cv2.imwrite(str(folder / f"odd{ending}"), np.resize(PHOTOGRAPH, (height, width, 3)))

    return write


def _turned(orientation: int, ending: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        exif = Image.Exif()
        exif[0x0112] = orientation
        Image.fromarray(PHOTOGRAPH[:80]).save(folder / f"odd{ending}", exif=exif)

    return write


def _depth(dtype: str, ending: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        scale = 257 if dtype == "uint16" else 1 / 255
        cv2.imwrite(str(folder / f"odd{ending}"), (PHOTOGRAPH.astype(np.float64) * scale).astype(dtype))

    return write


def _named(name: str) -> Callable[[Path], None]:
    return lambda folder: Image.fromarray(PHOTOGRAPH).save(folder / name)


def _bytes(name: str, content: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(content)


def _header(width: int, height: int) -> bytes:
    """A PNG that says a size and holds nothing of it."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = b"IDAT" + zlib.compress(bytes(64))
    chunks = [struct.pack(">I", len(part) - 4) + part + struct.pack(">I", zlib.crc32(part)) for part in (head, body)]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + struct.pack(">I", 0) + b"IEND\xaeB`\x82"


def _animation(folder: Path) -> None:
    frames = [Image.fromarray(np.roll(PHOTOGRAPH, shift, axis=0)) for shift in range(3)]
    frames[0].save(folder / "odd.webp", save_all=True, append_images=frames[1:])


def _bomb_of_text(folder: Path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "a" * 500_000, zip=True)
    Image.fromarray(PHOTOGRAPH).save(folder / "odd.png", pnginfo=info)


def _dangling(folder: Path) -> None:
    (folder / "odd.png").symlink_to("nothing")


def _loop(folder: Path) -> None:
    (folder / "odd").symlink_to(folder, target_is_directory=True)


def _twice(folder: Path) -> None:
    for ending in (".png", ".jpg"):
        Image.fromarray(PHOTOGRAPH).save(folder / f"odd{ending}")


def _unreadable(folder: Path) -> None:
    _named("odd.png")(folder)
    (folder / "odd.png").chmod(0)


def _wrong_ending(folder: Path) -> None:
    Image.fromarray(PHOTOGRAPH).save(folder / "odd.jpg", "PNG")


def _sub_folder(folder: Path) -> None:
    (folder / "odd").mkdir()
    Image.fromarray(PHOTOGRAPH).save(folder / "odd/odd.png")


_JPEG = cv2.imencode(".jpg", PHOTOGRAPH)[1].tobytes()
_PNG = cv2.imencode(".png", PHOTOGRAPH)[1].tobytes()
IMAGES: dict[str, Callable[[Path], object]] = {
    **{f"{mode} {end}": _mode(mode, end) for mode in ("1", "L", "LA", "P", "RGBA", "I;16") for end in (".png",)},
    **{f"{mode} .tif": _mode(mode, ".tif") for mode in ("1", "L", "P", "RGBA", "CMYK", "LAB", "F", "YCbCr")},
    **{f"{mode} .jpg": _mode(mode, ".jpg") for mode in ("L", "CMYK")},
    **{f"{mode} .webp": _mode(mode, ".webp") for mode in ("RGBA", "RGB")},
    **{f"P {end}": _mode("P", end) for end in (".bmp", ".gif")},
    **{f"{size} pixels": _size(*size) for size in ((1, 1), (1, 300), (300, 1), (2, 2), (7, 9), (31, 97), (33, 64))},
    **{f"orientation {turn} {end}": _turned(turn, end) for turn in (3, 6, 8) for end in (".jpg", ".png", ".webp")},
    **{
        f"{kind} {end}": _depth(kind, end)
        for kind, end in (("uint16", ".png"), ("uint16", ".tif"), ("float32", ".tif"))
    },
    **{
        repr(name): _named(name)
        for name in ("odd é中.png", "odd a b.PNG", "odd, b.png", "odd\nb.png", "-odd.png", ".odd.png", "odd.png.png")
        + ("odd[1].png", "odd{}%s.png", "odd (1,2).png", "odd'\".png", "odd.JPEG", "o" * 200 + "odd.png")
    },
    "empty": _bytes("odd.png", b""),
    "text": _bytes("odd.png", b"not a picture\n" * 20),
    "half a PNG": _bytes("odd.png", _PNG[: len(_PNG) // 2]),
    "half a JPEG": _bytes("odd.jpg", _JPEG[: len(_JPEG) // 2]),
    "JPEG, zeroed": _bytes("odd.jpg", _JPEG[:1500] + bytes(900) + _JPEG[2400:]),
    "JPEG, then more": _bytes("odd.jpg", _JPEG + b"more" * 100),
    "PNG of 30,000 x 30,000": _bytes("odd.png", _header(30_000, 30_000)),
    "PNG of 0 x 5": _bytes("odd.png", _header(0, 5)),
    "PNG of 2^31 x 2^31": _bytes("odd.png", _header(2**31 - 1, 2**31 - 1)),
    "folder": lambda folder: (folder / "odd.png").mkdir(),
    "pipe": lambda folder: os.mkfifo(folder / "odd.png"),
    "animation": _animation,
    "text of 500 kB": _bomb_of_text,
    "link to nothing": _dangling,
    "link to its folder": _loop,
    "one name, two endings": _twice,
    "no permission": _unreadable,
    "PNG named .jpg": _wrong_ending,
    "sub-folder": _sub_folder,
    "other files": _bytes("odd.txt", b"notes"),
    "Thumbs.db": _bytes("Thumbs.db", bytes(200)),
    "resource fork": _bytes("._odd.png", bytes(200)),
}
"""What stands in a folder beside three sound pictures, by its oddity."""

LISTS: dict[str, bytes] = {
    "empty": b"",
    "blank lines": b"\n\n0.png\n\n",
    "byte-order mark": b"\xef\xbb\xbf0.png\n1.png\n",
    "CRLF": b"0.png (96,96,3)\r\n1.png (96,96,3)\r\n",
    "no last newline": b"0.png",
    "Latin-1": "ä.png\n".encode("latin-1"),
    "NUL": b"0.png\n1\0.png\n",
    "a missing file": b"0.png\nabsent.png\n",
    "only missing files": b"absent.png\n",
    "a path outside": b"../../../../etc/hostname\n",
    "an absolute path": b"/etc/hostname\n",
    "wrong sizes": b"0.png (5,5,3)\n",
    "half a size": b"0.png (96,\n",
    "the same twice": b"0.png\n0.png\n",
    "pairs": b"0.png, 0.png\n",
    "quotes": b'"0.png"\n',
    "an endless line": b"a" * 100_000 + b"\n",
    "binary": bytes(range(256)) * 4,
    "a folder's name": b".\n",
    "a comment": b"# pictures\n0.png\n",
}

GUIDES: dict[str, bytes] = {
    "empty": b"",
    "a header alone": b"image_name,MOS\n",
    "byte-order mark": b"\xef\xbb\xbf" + b"".join(b"%d.png,%d\n" % (index, index * 10) for index in range(3)),
    "semicolons": b"0.png;1\n1.png;2\n2.png;3\n",
    "tabs": b"0.png\t1\n1.png\t2\n",
    "no scores": b"0.png\n1.png\n",
    "NaN": b"0.png,nan\n1.png,2\n2.png,3\n",
    "infinite": b"0.png,inf\n1.png,-inf\n2.png,1e999\n",
    "all the same": b"0.png,5\n1.png,5\n2.png,5\n",
    "two scores": b"0.png,1\n1.png,2\n",
    "one score": b"0.png,1\n",
    "twice": b"0.png,1\n0.png,2\n1.png,3\n2.png,4\n",
    "missing images": b"absent.png,1\n0.png,2\n1.png,3\n",
    "a comma as the decimal mark": b"0.png,1,5\n1.png,2,5\n",
    "binary": bytes(range(256)) * 4,
    "UTF-16": "0.png,1\n1.png,2\n".encode("utf-16"),
}


def _database(folder: Path) -> Path:
    images, database = folder / "db_images", folder / "odd.lmdb"
    images.mkdir()
    for index in range(3):
        cv2.imwrite(str(images / f"{index}.png"), np.roll(PHOTOGRAPH, index, axis=0))
    make_lmdb_from_imgs(str(images), str(database), [f"{n}.png" for n in range(3)], [str(n) for n in range(3)])
    return database


def _changed(change: Callable[[Path], object]) -> Callable[[Path], object]:
    return lambda folder: change(_database(folder))


DATABASES: dict[str, Callable[[Path], object]] = {
    "sound": _database,
    "absent": lambda folder: None,
    "an empty folder": lambda folder: (folder / "odd.lmdb").mkdir(),
    "a file": lambda folder: (folder / "odd.lmdb").write_bytes(b"x" * 5000),
    "no list": _changed(lambda database: (database / "meta_info.txt").unlink()),
    "an empty list": _changed(lambda database: (database / "meta_info.txt").write_text("")),
    "a key too many": _changed(lambda d: (d / "meta_info.txt").write_text("0.png (96,96,3) 1\nx.png (96,96,3) 1\n")),
    "list without sizes": _changed(lambda database: (database / "meta_info.txt").write_text("0.png\n")),
    "no data": _changed(lambda database: (database / "data.mdb").unlink()),
    "no lock file": _changed(lambda database: (database / "lock.mdb").unlink()),
    "empty data": _changed(lambda database: (database / "data.mdb").write_bytes(b"")),
    "cut data": _changed(lambda database: os.truncate(database / "data.mdb", 20_000)),
    "zeroed data": _changed(lambda database: (database / "data.mdb").write_bytes(bytes(65536))),
    "read-only": _changed(lambda database: database.chmod(0o555)),
}
