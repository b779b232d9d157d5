"""Published weights by name: what network they are of, where they are published, and where they lie on this machine.

A name stands for its file wherever a weights file can be named. ``docs/weights.md`` is made from this table.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from basicsr.utils.atomic import StrPath
from basicsr.utils.dist_util import master_first
from basicsr.utils.errors import WeightsError
from basicsr.utils.fields import suggest
from basicsr.weights.builtin import BUILTIN, builtin_weights
from basicsr.weights.features import list_features
from basicsr.weights.files import SUFFIXES
from basicsr.weights.obtaining import Published, name_run, obtain

_REAL_ESRGAN = "https://github.com/xinntao/Real-ESRGAN/releases/download"
_KAIR = "https://github.com/cszn/KAIR/releases/download/v1.0"
_MODEL_ZOO = "https://github.com/XPixelGroup/BasicSR/blob/master/docs/ModelZoo.md"
_SWINIR = "https://github.com/JingyunLiang/SwinIR/releases/download/v0.0"


def _rrdb(scale: int = 4, num_block: int = 23) -> dict[str, Any]:
    return {"type": "RRDBNet", "num_in_ch": 3, "num_out_ch": 3, "scale": scale, "num_block": num_block}


def _compact(num_conv: int) -> dict[str, Any]:
    return {"type": "SRVGGNetCompact", "num_conv": num_conv, "upscale": 4}


def _swinir(upscale: int, upsampler: str, size: str = "M", img_size: int = 64) -> dict[str, Any]:
    groups, embed_dim, heads = {"S": (4, 60, 6), "M": (6, 180, 6), "L": (9, 240, 8)}[size]
    return {
        "type": "SwinIR",
        "upscale": upscale,
        "img_size": img_size,
        "window_size": 8,
        "depths": [6] * groups,
        "embed_dim": embed_dim,
        "num_heads": [heads] * groups,
        "mlp_ratio": 2,
        "upsampler": upsampler,
        "resi_connection": "3conv" if size == "L" else "1conv",
    }


def _edsr(upscale: int, size: str) -> dict[str, Any]:
    widths = {"M": (64, 16, 1.0), "L": (256, 32, 0.1)}
    sizes = dict(zip(("num_feat", "num_block", "res_scale"), widths[size]))
    return {"type": "EDSR", "num_in_ch": 3, "num_out_ch": 3, "upscale": upscale, **sizes}


_RCAN = {
    "type": "RCAN",
    "num_in_ch": 3,
    "num_out_ch": 3,
    "num_feat": 64,
    "num_group": 10,
    "num_block": 20,
    "squeeze_factor": 16,
    "upscale": 4,
}
_CRITIC = {"type": "UNetDiscriminatorSN", "num_in_ch": 3, "num_feat": 64, "skip_connection": True}


def _list_published() -> Iterator[Published]:
    for version, name, network in (
        ("v0.1.0", "RealESRGAN_x4plus", _rrdb()),
        ("v0.1.1", "RealESRNet_x4plus", _rrdb()),
        ("v0.2.1", "RealESRGAN_x2plus", _rrdb(2)),
        ("v0.2.2.4", "RealESRGAN_x4plus_anime_6B", _rrdb(num_block=6)),
        ("v0.2.5.0", "realesr-animevideov3", _compact(16)),
        ("v0.2.5.0", "realesr-general-x4v3", _compact(32)),
        ("v0.2.5.0", "realesr-general-wdn-x4v3", _compact(32)),
        ("v0.2.2.3", "RealESRGAN_x4plus_netD", _CRITIC),
        ("v0.2.2.3", "RealESRGAN_x2plus_netD", _CRITIC),
        ("v0.2.2.4", "RealESRGAN_x4plus_anime_6B_netD", _CRITIC),
    ):
        yield Published(name, network, "BSD-3-Clause", f"{_REAL_ESRGAN}/{version}", "Real-ESRGAN")
    hosted = f"{_REAL_ESRGAN}/v0.1.1"
    yield Published("ESRGAN_SRx4_DF2KOST_official-ff704c30", _rrdb(), "Apache-2.0", hosted, "ESRGAN")
    name = "ESRGAN_PSNR_SRx4_DF2K_official-150ff491"
    yield Published(name, _rrdb(), "Apache-2.0", "", "ESRGAN", page=_MODEL_ZOO)
    for name in ("RRDB_ESRGAN_x4", "RRDB_PSNR_x4"):
        yield Published(name, _rrdb(), "Apache-2.0", "", "ESRGAN", page="https://github.com/xinntao/ESRGAN")
    for name in (
        *("EDSR_Mx2_f64b16_DIV2K_official-3ba7b086", "EDSR_Mx3_f64b16_DIV2K_official-6908f88a"),
        *("EDSR_Mx4_f64b16_DIV2K_official-0c287733", "EDSR_Lx2_f256b32_DIV2K_official-be38e77d"),
        *("EDSR_Lx3_f256b32_DIV2K_official-3660f70d", "EDSR_Lx4_f256b32_DIV2K_official-76ee1c8f"),
    ):
        yield Published(name, _edsr(int(name[7]), name[5]), "Apache-2.0", "", "BasicSR", page=_MODEL_ZOO)
    yield Published("RCAN_BIX4-official", _RCAN, "not stated", "", "RCAN", page=_MODEL_ZOO)
    for name in ("BSRGAN", "BSRNet"):
        yield Published(name, _rrdb(), "MIT", _KAIR, "BSRGAN (KAIR)")
    for data, img_size in (("DF2K_s64w8", 64), ("DIV2K_s48w8", 48)):
        for scale in (2, 3, 4, 8):
            name = f"001_classicalSR_{data}_SwinIR-M_x{scale}"
            yield Published(name, _swinir(scale, "pixelshuffle", img_size=img_size), "Apache-2.0", _SWINIR, "SwinIR")
    for scale in (2, 3, 4):
        name = f"002_lightweightSR_DIV2K_s64w8_SwinIR-S_x{scale}"
        yield Published(name, _swinir(scale, "pixelshuffledirect", "S"), "Apache-2.0", _SWINIR, "SwinIR")
    for data, size in (("DFO", "M"), ("DFOWMFC", "L")):
        name = f"003_realSR_BSRGAN_{data}_s64w8_SwinIR-{size}_x4_GAN"
        yield Published(name, _swinir(4, "nearest+conv", size), "Apache-2.0", _SWINIR, "SwinIR")


PUBLISHED = {entry.name: entry for entry in _list_published()}
"""What is known, by name; addresses are those of the projects' release pages."""


def _list_unpublished() -> Iterator[Published]:
    for name, recipe in (
        *((f"net_g_esrnet_x4_{gate}", f"train_esrnet_x4_{gate}") for gate in ("hgd", "sgd")),
        *((f"net_g_{key}_x4_hgd_dual_former", f"train_{key}_x4_hgd_dual_former") for key in ("esrgan", "bebygan")),
        ("net_g_esrgan_x4_dual_former", "train_esrgan_x4_dual_former"),
    ):
        made = f"experiments/{recipe}/models/net_g_latest.pth"
        remedy = (
            f"a result of DualFormer's authors, of which no address is known; train it (options/train/{recipe}.yml)"
        )
        yield Published(name, _rrdb(), "not stated", "", "DualFormer's authors", remedy=f"{remedy} and copy {made}")
    remedy = "not published; train it, as by Real-ESRGAN's train_realesrnet_x2plus.yml"
    yield Published("RealESRNet_x2plus", _rrdb(2), "BSD-3-Clause", "", "Real-ESRGAN", remedy=remedy)


UNPUBLISHED = {entry.name: entry for entry in _list_unpublished()}
"""Weights that option files name and nobody offers, with what is known of them."""


def list_known() -> dict[str, Published]:
    """Every file of weights that this package or an option file of its own needs, by name."""
    return {**PUBLISHED, **UNPUBLISHED, **list_features()}


def is_name(what: StrPath) -> bool:
    """Whether a text can only be meant as a name: no file is there, and it is neither a path nor a file's name."""
    path = Path(what).expanduser()
    return not path.exists() and path.parent == Path() and (path.suffix not in SUFFIXES or path.stem in PUBLISHED)


def check_name(name: str) -> Published:
    """The published weights of a name, with or without ``.pth``.

    Raises:
        WeightsError: If there are none; the message gives the nearest name.
    """
    entry = PUBLISHED.get(name) or PUBLISHED.get(Path(name).stem)
    if entry is None:
        raise WeightsError(
            f"{name} is neither a weights file nor the name of published weights{suggest(name, PUBLISHED)}"
            f"{explain_absence(Path(f'{Path(name).stem}.pth'))}"
        )
    return entry


def explain_absence(path: Path) -> str:
    """What is known of a weights file that is not there, as the end of a message; empty if nothing is."""
    entry = next((known for known in list_known().values() if known.file == path.name), None)
    if entry is not None:
        return f"; {'' if entry.url else f'{entry.name} is '}{entry.describe(path)}"
    run = name_run(path)
    return f"; the training {run} writes it: run that first" if run else ""


def locate_weights(what: StrPath) -> Path:
    """The file of weights that are named by path or by name; published ones are fetched if they are not here.

    Every process of a run must call it, as the first of them fetches for all.

    Args:
        what: A path, or a name of :data:`~basicsr.weights.builtin.BUILTIN` or :data:`PUBLISHED`. Published files are
            looked for in :data:`~basicsr.weights.obtaining.PRETRAINED_DIR` and in torch hub's ``checkpoints``.

    Raises:
        WeightsError: If there is no such file or name, or it cannot be fetched; says where to put it.
    """
    path = Path(what).expanduser()
    if not is_name(what):
        if path.is_file():
            return path
        known = path.stem in PUBLISHED and bool(PUBLISHED[path.stem].url)
        hint = f", or name it {path.stem}, without folder and ending, to have it fetched" if known else ""
        message = f"weights file not found: {path}; put it there, or change the option that names it"
        raise WeightsError(f"{message}{hint}{explain_absence(path)}")
    if str(what) in BUILTIN:
        if not (file := builtin_weights(str(what))).is_file():
            raise WeightsError(f"this installation lacks the built-in network {what} ({file}); install it anew")
        return file
    with master_first():
        return obtain(check_name(str(what)))
