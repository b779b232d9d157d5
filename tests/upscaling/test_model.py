"""Models in Python: kinds of images, scales, ensembles, tiles, memory that runs out, and what is loaded when."""

from __future__ import annotations

import logging
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch
from picture_kinds import smooth
from PIL import Image
from tiny_models import compact, save
from tiny_run import environment
from torch import Tensor, nn

import basicsr
from basicsr.analysis.generators import Network
from basicsr.archs import build_network
from basicsr.processing.matlab import imresize
from basicsr.upscaling import memory, model, resizing, tiles
from basicsr.upscaling.memory import Appetite, find_free_memory, measure_appetite
from basicsr.upscaling.model import Upscaler, fill_transparent, load_model
from basicsr.upscaling.networks import Ensemble
from basicsr.utils.errors import ArgumentError, DataError, UserError, WeightsError, is_out_of_memory

CPU = torch.device("cpu")


def upscaler(net: nn.Module, channels: int = 3, **options: object) -> Upscaler:
    return Upscaler(Ensemble([Network(net, 2, channels, Path("net.pth"))], CPU), **options)


def expected_of(net: nn.Module, image: np.ndarray) -> np.ndarray:
    """What a network makes of (H, W, 3) uint8, rounded."""
    with torch.no_grad():
        made = net(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255)
    return np.rint(made[0].permute(1, 2, 0).clamp(0, 1).numpy() * 255).astype(np.uint8)


def test_three_lines(repeating: str) -> None:
    net = basicsr.load_model(repeating)
    image = smooth(3)
    assert np.array_equal(net(image), image.repeat(2, axis=0).repeat(2, axis=1))


def test_the_package_alone_loads_nothing_heavy() -> None:
    heavy = "{'torch', 'numpy', 'cv2'}"
    program = f"import sys, basicsr; print({heavy} & set(sys.modules), 'load_model' in basicsr.__all__)"
    ended = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment(), check=True
    )
    assert ended.stdout.strip() == "set() True"


@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32", "float64", "float16"])
def test_arrays_keep_their_kind(channels: int, dtype: str, repeating: str) -> None:
    image = smooth(channels, np.uint16) if dtype != "uint8" else smooth(channels)
    image = image if dtype.startswith("uint") else (image / 65535).astype(dtype)
    made = load_model(repeating)(image)
    assert made.dtype == image.dtype and made.ndim == image.ndim
    colours = slice(None) if channels % 2 else slice(0, -1)
    expected = image.repeat(2, axis=0).repeat(2, axis=1)
    assert np.allclose(
        made[..., colours] if channels > 1 else made, expected[..., colours] if channels > 1 else expected
    )


@pytest.mark.parametrize("mode", ["L", "LA", "RGB", "RGBA", "P", "1", "CMYK", "I;16"])
def test_pictures_of_pillow(mode: str, repeating: str) -> None:
    if mode == "I;16":
        image = Image.fromarray(smooth(1, np.uint16))
    else:
        image = Image.fromarray(smooth(3)).convert(mode)
    image.info["dpi"] = (72, 72)
    made = load_model(repeating)(image)
    assert made.mode == {"P": "RGB", "CMYK": "RGB", "1": "L"}.get(mode, mode)
    assert made.size == (52, 36) and made.info["dpi"] == (72, 72)
    expected = np.asarray(image.convert(made.mode)).repeat(2, axis=0).repeat(2, axis=1)
    assert np.array_equal(np.asarray(made), expected)


@pytest.mark.parametrize("shape", [(3, 9, 7), (2, 3, 9, 7), (1, 1, 9, 7)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_tensors(shape: tuple[int, ...], dtype: torch.dtype, repeating: str) -> None:
    image = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    made = load_model(repeating)(image)
    assert made.dtype == dtype
    torch.testing.assert_close(made, image.repeat_interleave(2, -1).repeat_interleave(2, -2), rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4, 5), np.uint8), np.zeros((4, 4), np.int64), np.zeros((0, 4, 3), np.uint8), "a.png"]
)
def test_other_things_are_refused_by_name(image: object, repeating: str) -> None:
    with pytest.raises(TypeError, match=r"shape|int64|str"):
        load_model(repeating)(image)


def test_wrong_arguments_are_refused(repeating: str) -> None:
    for wrong in ({"precision": "fp8"}, {"average": "models"}):
        with pytest.raises(ArgumentError, match="must be one of"):
            load_model(repeating, **wrong)
    for wrong in ({"scale": 0.0}, {"scale": 100}, {"tile": -1}):
        with pytest.raises(ValueError, match=f"{next(iter(wrong))} must"):
            load_model(repeating, **wrong)
    with pytest.raises(UserError, match="nowhere"):
        load_model("nowhere")


def test_networks_of_gray_take_colours_and_networks_of_colours_take_gray() -> None:
    gray_net, image = compact(channels=1, seed=1), smooth(3)
    made = upscaler(gray_net, channels=1)(image)
    for channel in range(3):
        one = expected_of(gray_net, image[..., channel : channel + 1])[..., 0]
        assert np.array_equal(made[..., channel], one)
    net = compact(seed=1)
    with torch.no_grad():
        gray = torch.from_numpy(image[..., 0] / 255).float().expand(1, 3, -1, -1)
        expected = net(gray).mean(1)[0].clamp(0, 1) * 255
    assert np.abs(upscaler(net)(image[..., 0]) - expected.numpy()).max() <= 0.51


@pytest.mark.parametrize("scale", [0.5, 1, 1.5, 2.5, 3])
def test_any_scale_is_resized_from_the_networks(scale: float) -> None:
    net, image = compact(seed=2), smooth(3, height=17, width=23)
    made = upscaler(net, scale=scale)(image)
    assert made.shape == (round(17 * scale), round(23 * scale), 3)
    with torch.no_grad():
        large = net(torch.from_numpy(image).permute(2, 0, 1)[None].float() / 255).clamp(0, 1)
    from basicsr.processing.resizer import imresize as resize

    expected = resize(large, sizes=made.shape[:2])[0].permute(1, 2, 0).clamp(0, 1) * 255
    assert np.abs(made - expected.numpy()).max() <= 0.51


def test_several_models_are_averaged_in_their_outputs(tmp_path: Path) -> None:
    nets = [compact(seed=seed) for seed in (1, 2, 3)]
    paths = [save(net, tmp_path / f"{index}.pth") for index, net in enumerate(nets)]
    image = smooth(3).astype(np.float32) / 255
    made = load_model(paths)(image)
    lq = torch.from_numpy(image).permute(2, 0, 1)[None]
    with torch.no_grad():
        expected = torch.stack([net(lq) for net in nets]).mean(0)[0].clamp(0, 1).permute(1, 2, 0)
    np.testing.assert_allclose(made, expected.numpy(), atol=1e-6)


def test_several_models_are_averaged_in_their_weights(tmp_path: Path) -> None:
    nets = [compact(seed=seed) for seed in (1, 2, 3)]
    paths = [save(net, tmp_path / f"{index}.pth") for index, net in enumerate(nets)]
    mean = compact()
    states = [net.state_dict() for net in nets]
    mean.load_state_dict({name: torch.stack([state[name] for state in states]).mean(0) for name in states[0]})
    image = smooth(3)
    assert np.abs(load_model(paths, average="weights")(image).astype(int) - expected_of(mean, image)).max() <= 1
    other = save(
        build_network({"type": "SRVGGNetCompact", "num_feat": 6, "num_conv": 1, "upscale": 2}), tmp_path / "o.pth"
    )
    with pytest.raises(WeightsError, match="num_feat is 4"):
        load_model([paths[0], other], average="weights")


def test_models_of_different_scales_are_not_averaged(tmp_path: Path, repeating: str) -> None:
    with pytest.raises(UserError, match=r"one scale, got .*: 2, .*: 3"):
        load_model([repeating, save(compact(3), tmp_path / "x3.pth")])


def test_tta_is_the_mean_over_flips_and_turns() -> None:
    net, image = compact(seed=4), 0.4 + 0.2 * smooth(3).astype(np.float32) / 255
    made = Upscaler(Ensemble([Network(net, 2, 3, Path())], CPU, tta=True))(image)
    total = np.zeros_like(made)
    plain = upscaler(net)
    for turns in range(4):
        for mirrored in (False, True):
            seen = np.rot90(image[:, ::-1] if mirrored else image, turns)
            back = np.rot90(plain(np.ascontiguousarray(seen)), -turns)
            total += back[:, ::-1] if mirrored else back
    np.testing.assert_allclose(made, total / 8, atol=1e-5)


class Overflowing(nn.Conv2d):
    """A network whose numbers are too large for 16 bits."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.interpolate(super().forward(x) * 1e6 / 1e6, scale_factor=2)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_less_precision_is_near_and_never_a_black_tile(precision: str) -> None:
    net, image = compact(seed=5), smooth(3)
    whole = expected_of(net, image).astype(int)
    made = Upscaler(Ensemble([Network(net, 2, 3, Path())], CPU, precision))(image)
    assert 0 <= np.abs(made - whole).max() <= 4
    huge = Overflowing(3, 3, 1).eval()
    expected = expected_of(huge, image).astype(int)
    assert np.abs(Upscaler(Ensemble([Network(huge, 2, 3, Path())], CPU, precision))(image) - expected).max() <= 4


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_margins_do_not_depend_on_the_precision(precision: str) -> None:
    net, image = compact(seed=5), smooth(3, height=40, width=60)
    enlargers = [Upscaler(Ensemble([Network(net, 2, 3, Path())], CPU, p), tile=16) for p in ("fp32", precision)]
    for enlarger in enlargers:
        enlarger(image)
        assert enlarger.note == "" and enlarger.net.precision in ("fp32", precision)
    lq = torch.rand(1, 3, 40, 60)
    first, second = (enlarger.planner.tiler.reach_of(enlarger.net, lq) for enlarger in enlargers)
    assert first == second and enlargers[1].net.precision == precision


# --- tiles and memory -------------------------------------------------------------------------------------------------

NETWORKS = {
    "RRDBNet": {"num_in_ch": 3, "num_out_ch": 3, "scale": 2, "num_feat": 8, "num_block": 1, "num_grow_ch": 4},
    "SRVGGNetCompact": {"num_feat": 8, "num_conv": 3, "upscale": 2},
    "SwinIR": {
        "upscale": 2,
        "img_size": 8,
        "window_size": 4,
        "depths": [2],
        "embed_dim": 8,
        "num_heads": [2],
        "upsampler": "pixelshuffledirect",
    },
    "spandrel/SPAN": {"num_in_ch": 3, "num_out_ch": 3, "feature_channels": 8, "upscale": 2},
}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiles_equal_the_whole_within_half_a_level(name: str, dtype: type) -> None:
    if name.startswith("spandrel"):
        pytest.importorskip("spandrel")
    torch.manual_seed(0)
    net = build_network({"type": name, **NETWORKS[name]}).eval()
    image = smooth(3, dtype, 61, 83)
    whole, tiled = (upscaler(net, tile=tile)(image).astype(float) for tile in (0, 24))
    levels = np.abs(tiled - whole) * 255 / np.iinfo(dtype).max
    # Rounding to 8 bit makes a whole level of the smallest difference.
    assert levels.max() <= (1 if dtype == np.uint8 else 0.5)


class Hungry(nn.Module):
    """A network that repeats pixels and runs out of memory on images of too many."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most, self.seen = most, []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape[-2:]))
        if x.shape[-1] * x.shape[-2] > self.most:
            raise RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried to allocate")
        return nn.functional.interpolate(x, scale_factor=2)


def test_tiles_are_halved_once_when_memory_runs_out(caplog: pytest.LogCaptureFixture) -> None:
    net, image = Hungry(10_000), smooth(3, height=64, width=320)
    enlarger = upscaler(net, tile=256)
    with caplog.at_level(logging.WARNING, "basicsr"):
        made = enlarger(image)
    assert np.array_equal(made, image.repeat(2, axis=0).repeat(2, axis=1))
    assert "going on with tiles of 128 pixels" in caplog.text
    net.seen.clear()
    enlarger(image)
    assert max(width for _, width in net.seen) <= 128 + 64  # the next picture begins with what was enough


def test_memory_that_is_never_enough_is_a_clear_failure() -> None:
    with pytest.raises(DataError, match=r"even with tiles of 128 pixels.*--tile"):
        upscaler(Hungry(16**2), tile=256)(smooth(3, height=64, width=320))


def test_other_errors_of_a_network_are_not_taken_for_memory() -> None:
    assert is_out_of_memory(torch.cuda.OutOfMemoryError("CUDA out of memory"))
    assert is_out_of_memory(MemoryError())
    assert not is_out_of_memory(RuntimeError("shapes do not match"))
    assert not is_out_of_memory(ValueError("out of memory"))


def test_tiles_fit_into_free_memory(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    net = upscaler(compact(seed=6))
    lq = torch.rand(1, 3, 300, 400)
    per_pixel = measure_appetite(net.net, 3, CPU).bytes
    monkeypatch.setattr(tiles, "find_free_memory", lambda device: 2**34)
    assert net.planner.choose(lq) is None
    for free in (100 * 100, 40 * 40):
        monkeypatch.setattr(tiles, "find_free_memory", lambda _, free=free: free * per_pixel / tiles.SHARE)
        tile = net.planner.choose(lq)
        assert tile is not None and tile**2 <= free
        reach = net.planner.tiler.reach_of(net.net, lq).overlap
        assert (tile + 3 * reach) ** 2 >= free / 2  # and not much smaller than need be
    image = smooth(3, height=300, width=400)
    with caplog.at_level(logging.WARNING, "basicsr"):
        made = net(image)
    assert "% of additional work" in caplog.text
    assert np.abs(made.astype(int) - expected_of(compact(seed=6), image)).max() <= 1


def test_margins_of_chosen_tiles_cost_little(monkeypatch: pytest.MonkeyPatch) -> None:
    net = upscaler(compact(seed=6))
    lq = torch.rand(1, 3, 1500, 1600)
    monkeypatch.setattr(tiles, "find_free_memory", lambda device: 2**31)
    tile = net.planner.choose(lq)
    assert tile is not None
    assert 0 < net.planner.cost(lq, tile) < tiles.HIGH_COST


def test_what_a_network_takes_is_counted() -> None:
    appetite = measure_appetite(compact(scale=4), 3, CPU)
    # Four features of 4 bytes in and out of an activation, an image of 48 values, repeated pixels and their sum.
    assert 48 * 4 * 2 <= appetite.bytes <= 48 * 4 * 8
    assert appetite.elements == 48
    assert Appetite(10, 1).largest_area(1000) == 100
    assert Appetite(1, 1000).largest_area(1e12) == memory.MAX_ELEMENTS // 1000


def test_free_memory_is_that_of_the_container_if_it_is_less(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("5000\n")
    (tmp_path / "memory.current").write_text("2000\n")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert find_free_memory(CPU) == 3000
    # Pages of files are counted as used, and given up as soon as somebody needs the memory.
    (tmp_path / "memory.stat").write_text("anon 900\ninactive_file 700\nactive_file 5\n")
    assert find_free_memory(CPU) == 3700
    (tmp_path / "memory.max").write_text("max\n")
    assert find_free_memory(CPU) > 2**20
    (tmp_path / "memory").mkdir()
    for name, text in {"limit_in_bytes": "5000", "usage_in_bytes": "4000"}.items():
        (tmp_path / f"memory/memory.{name}").write_text(text)
    assert find_free_memory(CPU) == 1000
    (tmp_path / "memory/memory.stat").write_text("inactive_file 1\ntotal_inactive_file 300\n")
    assert find_free_memory(CPU) == 1300


@pytest.mark.parametrize("factor", [1, 2])
@pytest.mark.parametrize(("channels", "dtype"), [(3, np.uint8), (4, np.uint16)])
def test_a_large_result_needs_one_buffer(
    factor: int, channels: int, dtype: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside the tile at hand: a picture is neither copied nor made one of floats, before the network or behind it."""
    net = Upscaler(Ensemble([Network(nn.Upsample(scale_factor=factor), factor, 3, Path("net.pth"))], CPU), tile=64)
    image = smooth(channels, dtype, height=1000 // factor, width=800 // factor)
    monkeypatch.setattr(resizing, "BAND", 2**14)
    with memory._Watch():
        net(image[:80, :80])
    with memory._Watch() as tensors:
        tracemalloc.start()
        made = net(image)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert made.shape == (1000, 800, channels) and made.dtype == dtype
    assert np.array_equal(made[..., :3], image[..., :3].repeat(factor, axis=0).repeat(factor, axis=1))
    assert made.nbytes <= peak < 1.2 * made.nbytes
    assert tensors.peak < image.nbytes + 1e6  # the input, too, passes as a tensor of its own type


# --- alpha ------------------------------------------------------------------------------------------------------------


def test_alpha_is_interpolated_or_sharpened() -> None:
    net = compact(seed=7)
    image = smooth(4)
    kept, sharpened = (upscaler(net, sharpen_alpha=sharpen)(image) for sharpen in (False, True))
    assert np.array_equal(kept[..., :3], expected_of(net, image[..., :3]))
    assert np.array_equal(kept[..., :3], sharpened[..., :3])
    expected = imresize(image[..., 3].astype(np.float64), 2)
    assert np.abs(kept[..., 3] - expected).max() <= 0.51
    assert np.array_equal(sharpened[..., 3], upscaler(net)(image[..., 3]))


def test_hidden_colours_do_not_leak_out() -> None:
    colours = np.full((5, 6, 3), 200, np.uint8)
    alpha = np.full((5, 6), 255, np.uint8)
    colours[:, 3:], alpha[:, 3:] = 0, 0
    assert (fill_transparent(colours, alpha) == 200).all()
    assert np.array_equal(fill_transparent(colours, np.zeros_like(alpha)), colours)
    assert fill_transparent(colours, np.ones_like(alpha)) is colours


def test_built_in_models_are_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from basicsr.weights import published

    assert model.DEFAULT_MODEL in published.BUILTIN
    monkeypatch.chdir(tmp_path)
    file = Path(save(compact(), tmp_path / "stands_for_it.pth"))
    monkeypatch.setattr(published, "builtin_weights", lambda name: file)
    assert load_model().scale == 2 and load_model("faithful").scale == 2
    monkeypatch.setattr(published, "builtin_weights", lambda name: tmp_path / "absent.safetensors")
    with pytest.raises(WeightsError, match="lacks the built-in network faithful"):
        load_model()
