"""Damaged files of tensors are refused, sound ones are read, and no code of a file is run."""

from __future__ import annotations

import argparse
import hashlib
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from basicsr.analysis.statistics import ProfileStatistics
from basicsr.metrics.lpips import build_lpips
from basicsr.models.checkpoint import load_checkpoint
from basicsr.utils.errors import DataError, UserError, WeightsError
from basicsr.weights import read_file, read_weights
from basicsr.weights.files import DIGEST_KEY, read_metadata, write_tensors

DAMAGES = 40


def make_state(seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    sizes = {"first.weight": (8, 3, 3, 3), "first.bias": (8,), "last.weight": (3, 8, 3, 3), "steps": ()}
    return {name: torch.rand(size, generator=generator) for name, size in sizes.items()}


def write_weights(path: Path) -> None:
    torch.save({"params": make_state(), "params_ema": make_state(1)}, path)


def write_statistics(path: Path) -> None:
    ProfileStatistics(np.linspace(1, 2, 90), np.linspace(0, 1, 90), 12, 128, "a").save(path)


def write_safetensors(path: Path) -> None:
    write_tensors(make_state(), path, {"scale": "4"}, "params")


def read_statistics(path: Path) -> dict[str, Any]:
    return vars(ProfileStatistics.load(path))


def damage(content: bytes, generator: np.random.Generator) -> bytes:
    """A bit flip, a truncation or a zeroed range at a random place; never the content itself."""
    place, kind = int(generator.integers(len(content))), generator.integers(3)
    if kind == 0:
        return content[:place] + bytes([content[place] ^ 1 << generator.integers(8)]) + content[place + 1 :]
    if kind == 1:
        return content[:place]
    end = min(place + int(generator.integers(1, 200)), len(content))
    return content[:place] + bytes(end - place) + content[end:]


def are_equal(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(are_equal(one[key], other[key]) for key in one)
    return bool(np.array_equal(np.asarray(one), np.asarray(other)))


CASES: list[tuple[str, Callable[[Path], None], Callable[[Path], Any]]] = [
    ("net_g_latest.pth", write_weights, read_file),
    ("spectrum_stats.pth", write_statistics, read_statistics),
    ("net_g.safetensors", write_safetensors, read_file),
]


@pytest.mark.parametrize(("name", "write", "read"), CASES, ids=[case[0] for case in CASES])
def test_no_damage_changes_a_value_silently(
    name: str, write: Callable[[Path], None], read: Callable[[Path], Any], tmp_path: Path
) -> None:
    file = tmp_path / name
    write(file)
    sound, content, generator = read(file), file.read_bytes(), np.random.default_rng(0)
    refused = 0
    for _ in range(DAMAGES):
        file.write_bytes(damage(content, generator))
        try:
            found = read(file)
        except UserError as error:
            assert str(file) in str(error) and "\n" not in str(error)
            refused += 1
        else:
            assert are_equal(found, sound)
    assert refused > DAMAGES // 2


@pytest.mark.parametrize("name", ["net_g.pth", "spectrum_stats.pth", "net_g.safetensors"])
def test_a_flipped_bit_of_a_value_is_named(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    {case[0].replace("_latest", ""): case[1] for case in CASES}[name](file)
    content = bytearray(file.read_bytes())
    value = np.linspace(1, 2, 90).tobytes() if "stats" in name else make_state()["first.weight"].numpy().tobytes()
    content[content.index(value) + 5] ^= 1
    file.write_bytes(content)
    error = DataError if "stats" in name else WeightsError
    with pytest.raises(error, match=f"cannot read .*{file.name}: .* damaged"):
        ProfileStatistics.load(file) if "stats" in name else read_weights(file)


def test_a_states_checksums_are_compared_by_the_same_function(tmp_path: Path) -> None:
    file = tmp_path / "5.state"
    torch.save({"format": 1, "value": torch.full((64,), 0.7)}, file)
    content = bytearray(file.read_bytes())
    content[content.index(torch.full((64,), 0.7).numpy().tobytes())] ^= 1
    file.write_bytes(content)
    with pytest.raises(WeightsError, match=r"the checkpoint .*5\.state is damaged: Bad CRC-32"):
        load_checkpoint(file)


@pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "archive"])
def test_a_digest_in_the_name_is_compared(legacy: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    state, file = make_state(), tmp_path / "x.pth"
    torch.save(state, file, _use_new_zipfile_serialization=not legacy)
    right = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    published, other, dated = (tmp_path / f"x-{text}.pth" for text in (right, "0badc0de", "20240131"))
    for copy in (published, other, dated):
        copy.write_bytes(file.read_bytes())
    with caplog.at_level(logging.WARNING, "basicsr"):
        for sound in (file, published, dated):
            assert are_equal(read_file(sound), state)
    assert not caplog.records
    if legacy:
        with pytest.raises(WeightsError, match=rf"x-0badc0de\.pth: its SHA-256 begins with {right}, .* 0badc0de"):
            read_file(other)
    else:
        assert are_equal(read_file(other), state)
        assert f"its SHA-256 begins with {right}" in caplog.text and "it is sound" in caplog.text


def test_archives_without_checksums_are_read(tmp_path: Path) -> None:
    options = getattr(torch.serialization, "set_crc32_options", None)
    if options is None:
        pytest.skip("this PyTorch always writes checksums")
    options(False)
    try:
        torch.save(make_state(), tmp_path / "x.pth")
    finally:
        options(True)
    assert are_equal(read_file(tmp_path / "x.pth"), make_state())


class Hostile:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("executed"),)


@pytest.mark.parametrize("legacy", [True, False], ids=["legacy", "archive"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (argparse.Namespace(scale=4), "it holds argparse.Namespace, which only code that the file names could make"),
        (np.float64(26.6), r"it holds numpy.*\.scalar, which only code"),
        (Hostile(), "which only code that the file names could make, and that is never run"),
    ],
    ids=["Namespace", "numpy", "hostile"],
)
def test_what_needs_code_is_named_and_not_run(
    content: Any, reason: str, legacy: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"params": make_state(), "meta": content}, "x.pth", _use_new_zipfile_serialization=not legacy)
    with pytest.raises(WeightsError, match=rf"cannot read x\.pth: .*{reason}"):
        read_weights("x.pth")
    assert not Path("executed").exists()


def test_other_files_are_refused_with_a_reason(tmp_path: Path) -> None:
    file = tmp_path / "x.pth"
    with pytest.raises(WeightsError, match=r"there is no file .*x\.pth"):
        read_file(file)
    for content, reason in ((b"", "x.pth"), (b"<html>", "not a file of tensors"), (b"PK\x03\x04", "damaged")):
        file.write_bytes(content)
        with pytest.raises(WeightsError, match=reason):
            read_file(file)
    torch.save([1, 2], file)
    with pytest.raises(WeightsError, match=r"x\.pth holds a list"):
        read_weights(file)
    torch.save({"epoch": 3, "lr": 1.0}, file)
    with pytest.raises(WeightsError, match=r"holds no state dict; found the keys \['epoch', 'lr'\]"):
        read_weights(file)


def test_lpips_reads_its_backbone_by_the_same_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "squeezenet1_1-b8a52dc0.pth"
    file.write_bytes(b"PK\x03\x04 torn")
    monkeypatch.setattr("basicsr.metrics.lpips.obtain", lambda entry: file)
    with pytest.raises(WeightsError, match=r"cannot read .*squeezenet1_1-b8a52dc0\.pth: it is damaged"):
        build_lpips("squeeze", torch.device("cpu"))


def test_safetensors_say_what_they_are_and_are_plain_to_others(tmp_path: Path) -> None:
    from safetensors import safe_open

    file, state = tmp_path / "x.safetensors", make_state()
    state["twice"] = state["first.weight"]
    state["strided"] = state["last.weight"].transpose(0, 1)
    write_tensors(state, file, {"scale": "4", "recipe": 'a "b" é'}, "params")
    metadata = read_metadata(file)
    assert (metadata["scale"], metadata["recipe"], metadata["format"]) == ("4", 'a "b" é', "pt")
    assert len(metadata[DIGEST_KEY]) == 64
    with safe_open(file, framework="pt") as opened:
        assert set(opened.keys()) == set(state)
        assert all(torch.equal(opened.get_tensor(name), value) for name, value in state.items())
    assert are_equal(read_weights(file), state)
    assert read_metadata(tmp_path / "x.pth") == {}
