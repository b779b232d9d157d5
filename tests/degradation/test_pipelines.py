"""Degradation pipelines: equality with degrading whole images, keys, records, gates, the pool, bad options."""

from __future__ import annotations

import inspect
import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import get_type_hints

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from golden_cases import load_case
from scipy import stats

from basicsr.data.degradations import random_add_gaussian_noise_pt, random_add_poisson_noise_pt
from basicsr.degradation import (
    DEGRADATIONS,
    Degradation,
    DegradationParameters,
    GatedDraw,
    HardGatedDegradation,
    NoiseDraw,
    PairedDegradation,
    PairPool,
    SecondOrderDegradation,
    SimpleGatedDegradation,
    noise_fields,
)
from basicsr.degradation.noise_fields import (
    _search_counts as search_counts,
)
from basicsr.degradation.noise_fields import (
    count_photons,
    gaussian_noise,
    hash_pixels,
    normal_from_bits,
    poisson_from_bits,
    poisson_noise,
)
from basicsr.processing.diffjpeg import DiffJPEG
from basicsr.processing.filters import USMSharp, filter2D
from basicsr.utils.batch import Batch
from basicsr.utils.fields import PositiveInt, Probability
from basicsr.utils.registry import DEGRADATION_REGISTRY
from basicsr.utils.seeding import torch_generator

Loaded = dict[str, torch.Tensor]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Images here are so small that threads would only wait for each other."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def make_batch(
    key: object, count: int, height: int, width: int, dtype: torch.dtype = torch.float64, side: int = 9
) -> Loaded:
    """Smooth random images with some flat parts (not midway between two 8-bit levels), and random kernels."""
    generator = torch_generator("batch", str(key))
    coarse = torch.rand(count, 3, height // 6 + 2, width // 6 + 2, generator=generator, dtype=dtype)
    batch = {"gt": F.interpolate(coarse, size=(height, width), mode="bicubic").clamp(0.11, 0.87)}
    for name in ("kernel", "kernel1", "kernel2", "sinc_kernel"):
        kernels = torch.rand(count, side, side, generator=generator) ** 6
        batch[name] = kernels / kernels.sum((1, 2), keepdim=True)
    return batch


def degrade_whole(batch: Loaded, draw: GatedDraw, index: int, scale: int) -> torch.Tensor:
    """The gated degradation of one whole image, step by step."""
    x = batch["gt"][index : index + 1]
    if draw.blur:
        x = filter2D(x, batch["kernel"][index : index + 1])
    x = F.interpolate(x, scale_factor=1 / scale, mode="bicubic")
    if draw.noise is not None:
        gray, strength = torch.tensor([draw.noise.gray]), torch.tensor([draw.noise.strength])
        rows, cols = torch.arange(x.shape[2]).unsqueeze(0), torch.arange(x.shape[3]).unsqueeze(0)
        bits = hash_pixels(torch.tensor([draw.noise.seed]), gray, rows, cols)
        if draw.noise.kind == "gaussian":
            x = x + gaussian_noise(x, bits, strength)
        else:
            x = x + poisson_noise(x, bits, strength, gray, count_photons(x, gray))
    x = x.clamp(0, 1)
    if draw.jpeg_quality is not None:
        x = DiffJPEG(differentiable=False)(x, draw.jpeg_quality)
    return (x * 255.0).round().clamp(0, 255)[0] / 255.0


def gates_of(draw: GatedDraw) -> tuple[bool, str | None, bool]:
    return draw.blur, draw.noise.kind if draw.noise else None, draw.jpeg_quality is not None


class TestGated:
    @pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
    def test_window_equals_whole_image(self, scale: int) -> None:
        """Every combination of gates, at crops that touch borders and at sizes that no grid divides."""
        low_size = 96 // scale + 7
        crop = 16 * scale if scale < 8 else 8 * scale
        pipeline = HardGatedDegradation(scale=scale, gt_size=crop, gate="sample")
        seen, at_border = set(), 0
        for turn in range(7):
            height, width = low_size * scale + turn % scale, (low_size + 5 + turn) * scale
            batch = make_batch((scale, turn), 6, height, width)
            parameters = pipeline.draw(6, height, width, torch_generator("draw", scale, turn))
            low = crop // scale
            corners = [(0, 0), (height // scale - low, width // scale - low)]
            samples = [
                GatedDraw(*corners[i], s.blur, s.noise, s.jpeg_quality) if i < 2 else s
                for i, s in enumerate(parameters.samples)
            ]
            parameters = DegradationParameters(low, low, tuple(samples))
            pair = pipeline.apply(batch, parameters)
            for index, draw in enumerate(samples):
                expected = degrade_whole(batch, draw, index, scale)
                rows, cols = slice(draw.top, draw.top + low), slice(draw.left, draw.left + low)
                torch.testing.assert_close(pair.lq[index], expected[:, rows, cols], atol=1e-9, rtol=0)
                top, left = draw.top * scale, draw.left * scale
                kept = batch["gt"][index, :, top : top + crop, left : left + crop]
                assert torch.equal(pair.gt[index], kept)
                seen.add(gates_of(draw))
                at_border += index < 2
        assert len(seen) >= 10
        assert at_border

    @pytest.mark.parametrize("kind", [HardGatedDegradation, SimpleGatedDegradation])
    @pytest.mark.parametrize("gate", ["batch", "sample"])
    def test_window_equals_whole_way_in_float32(self, kind, gate: str) -> None:
        pipeline = kind(scale=4, gt_size=48, gate=gate)
        for turn in range(8):
            batch = make_batch(turn, 4, 120, 112, torch.float32, side=21)
            parameters = pipeline.draw(4, 120, 112, torch_generator("draw", turn))
            window, whole = pipeline.apply(batch, parameters), pipeline.apply(batch, parameters, whole=True)
            assert torch.equal(window.gt, whole.gt)
            # A value on the edge of two 8-bit or JPEG levels may fall to either side.
            assert ((window.lq - whole.lq).abs() > 1e-6).double().mean() < 2e-3

    def test_without_crop_whole_images_are_kept(self) -> None:
        batch = make_batch("whole", 2, 43, 50)
        pipeline = HardGatedDegradation(scale=4, gt_size=None)
        parameters = pipeline.draw(2, 43, 50, torch_generator("draw", 1))
        pair = pipeline.apply(batch, parameters)
        assert torch.equal(pair.gt, batch["gt"][..., :40, :48])
        for index, draw in enumerate(parameters.samples):
            assert isinstance(draw, GatedDraw)
            torch.testing.assert_close(pair.lq[index], degrade_whole(batch, draw, index, 4), atol=1e-9, rtol=0)

    @pytest.mark.parametrize("gate", ["batch", "sample"])
    def test_same_key_same_pixels(self, gate: str) -> None:
        pipeline = HardGatedDegradation(scale=4, gt_size=32, gate=gate)
        batch = make_batch("key", 4, 64, 72, torch.float32)
        state = torch.random.get_rng_state()
        first, second, other = (pipeline(batch, torch_generator("step", seed)) for seed in (5, 5, 6))
        assert torch.equal(first.lq, second.lq)
        assert torch.equal(first.gt, second.gt)
        assert not torch.equal(first.lq, other.lq)
        assert torch.equal(state, torch.random.get_rng_state())

    def test_lq_is_8_bit_and_input_untouched(self) -> None:
        batch = make_batch("8 bit", 4, 64, 64, torch.float32)
        before = {name: value.clone() for name, value in batch.items()}
        for turn in range(4):
            pair = HardGatedDegradation(scale=2, gt_size=32)(batch, torch_generator("8 bit", turn))
            levels = pair.lq * 255
            assert (levels - levels.round()).abs().max() < 1e-4
            assert pair.lq.min() >= 0
            assert pair.lq.max() <= 1
        assert all(torch.equal(before[name], value) for name, value in batch.items())

    @pytest.mark.parametrize("gate", ["batch", "sample"])
    def test_one_image_can_be_made_again_from_its_record(self, gate: str) -> None:
        pipeline = HardGatedDegradation(scale=4, gt_size=32, gate=gate)
        for turn in range(6):
            batch = make_batch(turn, 4, 64, 72)
            parameters = pipeline.draw(4, 64, 72, torch_generator("record", turn))
            read = DegradationParameters.from_dict(json.loads(json.dumps(parameters.to_dict())))
            assert read == parameters
            pair = pipeline.apply(batch, parameters)
            alone = {name: value[2:3] for name, value in batch.items()}
            again = pipeline.apply(alone, read.select([2]))
            assert torch.equal(again.gt[0], pair.gt[2])
            torch.testing.assert_close(again.lq[0], pair.lq[2], atol=1e-9, rtol=0)

    def test_gate_batch_draws_once(self) -> None:
        pipeline = HardGatedDegradation(scale=4, gt_size=32, gate="batch")
        seen = set()
        for turn in range(60):
            draws: tuple = pipeline.draw(8, 64, 64, torch_generator("gate", turn)).samples
            assert len({(*gates_of(draw), draw.top, draw.left) for draw in draws}) == 1
            seen.add(gates_of(draws[0]))
            if draws[0].jpeg_quality is not None:
                assert len({draw.jpeg_quality for draw in draws}) == 8
            if draws[0].noise is not None:
                assert len({draw.noise.strength for draw in draws}) == 8
                gray_seeds = {draw.noise.seed for draw in draws if draw.noise.gray}
                other_seeds = {draw.noise.seed for draw in draws if not draw.noise.gray}
                assert len(gray_seeds) <= 1 or draws[0].noise.kind == "poisson"
                assert len(other_seeds) == sum(not draw.noise.gray for draw in draws)
        assert len(seen) == 12

    def test_gate_sample_draws_for_each(self) -> None:
        pipeline = HardGatedDegradation(scale=4, gt_size=32, gate="sample")
        draws: tuple = pipeline.draw(400, 256, 256, torch_generator("gate")).samples
        assert len({(draw.top, draw.left) for draw in draws}) > 300
        gates = np.array([(draw.blur, draw.noise is not None, draw.jpeg_quality is not None) for draw in draws])
        assert np.abs(gates.mean(0) - 0.5).max() < 0.1
        noises = [draw.noise for draw in draws if draw.noise]
        assert abs(np.mean([noise.kind == "gaussian" for noise in noises]) - 0.5) < 0.12
        assert abs(np.mean([noise.gray for noise in noises]) - 0.4) < 0.12
        assert all(1 <= noise.strength <= 30 for noise in noises if noise.kind == "gaussian")
        assert all(0.05 <= noise.strength <= 3 for noise in noises if noise.kind == "poisson")
        assert all(40 <= draw.jpeg_quality <= 95 for draw in draws if draw.jpeg_quality)
        assert len({noise.seed for noise in noises}) == len(noises)
        batch = {name: value[:1].expand(8, *value.shape[1:]) for name, value in make_batch("s", 1, 64, 64).items()}
        lq = pipeline(batch, torch_generator("gate", 1)).lq
        assert all(not torch.equal(lq[0], other) for other in lq[1:])

    def test_all_places_are_equally_likely(self) -> None:
        pipeline = SimpleGatedDegradation(scale=4, gt_size=32, gate="sample")
        draws = pipeline.draw(3000, 44, 32, torch_generator("places")).samples
        assert np.bincount([draw.top for draw in draws]).min() > 650
        assert {draw.top for draw in draws} == {0, 1, 2, 3}
        assert {draw.left for draw in draws} == {0}

    def test_simple_has_gaussian_noise_only(self) -> None:
        draws: tuple = (
            SimpleGatedDegradation(scale=4, gt_size=32, gate="sample").draw(200, 32, 32, torch_generator(1)).samples
        )
        assert {draw.noise.kind for draw in draws if draw.noise} == {"gaussian"}

    def test_one_option_does_not_move_the_draws_of_another(self) -> None:
        first, second = (
            HardGatedDegradation(scale=4, gt_size=32, gray_noise_prob=p, gate="sample").draw(
                9, 64, 64, torch_generator(2)
            )
            for p in (0, 1)
        )
        for one, other in zip(first.samples, second.samples):
            assert isinstance(one, GatedDraw)
            assert isinstance(other, GatedDraw)
            assert (one.top, one.left, one.blur, one.jpeg_quality) == (
                other.top,
                other.left,
                other.blur,
                other.jpeg_quality,
            )

    def test_what_does_not_fit_is_named(self) -> None:
        pipeline = HardGatedDegradation(scale=4, gt_size=64)
        with pytest.raises(ValueError, match="gt_size: images of 60x80"):
            pipeline.draw(2, 60, 80, torch_generator(0))
        batch = make_batch("bad", 2, 64, 64)
        draws = tuple(GatedDraw(0, 0, True, None, None) for _ in range(2))
        parameters = DegradationParameters(16, 16, draws)
        with pytest.raises(ValueError, match="kernel: not in the batch"):
            pipeline.apply({"gt": batch["gt"]}, parameters)
        with pytest.raises(ValueError, match="k odd"):
            pipeline.apply({**batch, "kernel": torch.rand(2, 4, 4)}, parameters)
        with pytest.raises(ValueError, match="3 images do not fit a batch of 2"):
            pipeline.apply(batch, parameters.select([0, 0, 1]))
        with pytest.raises(ValueError, match="kind"):
            DegradationParameters.from_dict({"kind": "third_order", "samples": []})

    @pytest.mark.parametrize("kind", ["hard", "simple"])
    @pytest.mark.parametrize("seed", [33, 2, 3])
    def test_steps_equal_golden(self, kind: str, seed: int) -> None:
        """The order of steps, on primitives that draw from the global streams as the reference did."""
        case = load_case("data_feed")
        option = case.config["calls"][f"out.{kind}.{seed}"]["opt"]
        gt, kernel = case.tensor("in.gt"), case.tensor("in.kernel")
        random.seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        torch.manual_seed(seed)
        blur, has_noise = (np.random.uniform() < 0.5 for _ in range(2))  # noqa: NPY002
        x = F.interpolate(filter2D(gt, kernel) if blur else gt, scale_factor=1 / 4, mode="bicubic")
        if has_noise:
            gaussian = kind == "simple" or np.random.uniform() < option["gaussian_noise_prob"]  # noqa: NPY002
            add, bounds = random_add_gaussian_noise_pt, option["noise_range"]
            if not gaussian:
                add, bounds = random_add_poisson_noise_pt, option["poisson_scale_range"]
            x = add(x, bounds, gray_prob=option["gray_noise_prob"], clip=True, rounds=False)
        quality = None
        if np.random.uniform() < 0.5:  # noqa: NPY002
            quality = x.new_zeros(2).uniform_(*option["jpeg_range"])
            x = DiffJPEG(differentiable=False)(x.clamp(0, 1), quality)
        x = (x * 255.0).round().clamp(0, 255) / 255.0
        top, left = random.randint(0, 4), random.randint(0, 4)
        case.check(x[..., top : top + 6, left : left + 6], f"out.{kind}.{seed}.lq")
        case.check(gt[..., 4 * top : 4 * top + 24, 4 * left : 4 * left + 24], f"out.{kind}.{seed}.gt")
        if not has_noise:
            samples = tuple(
                GatedDraw(top, left, bool(blur), None, None if quality is None else float(quality[index]))
                for index in range(2)
            )
            pipeline = DEGRADATIONS[f"{kind}_gated"](scale=4, gt_size=24)
            pair = pipeline.apply({"gt": gt, "kernel": kernel}, DegradationParameters(6, 6, samples))
            case.check(pair.lq, f"out.{kind}.{seed}.lq")
            case.check(pair.gt, f"out.{kind}.{seed}.gt")


class TestNoiseFields:
    def test_normal_numbers(self) -> None:
        seeds = torch.arange(4)
        line = torch.arange(200).expand(4, -1)
        noise = normal_from_bits(hash_pixels(seeds, torch.zeros(4, dtype=torch.bool), line, line))
        flat = noise.flatten().double().numpy()
        assert stats.kstest(flat, "norm").pvalue > 1e-3
        assert abs(flat.mean()) < 0.006
        assert abs(flat.std() - 1) < 0.006
        planes = noise.flatten(2).flatten(0, 1).double()
        correlation = np.corrcoef(planes.numpy()) - np.eye(12)
        assert np.abs(correlation).max() < 0.03
        for axis in (2, 3):
            neighbours = noise.narrow(axis, 1, 199) * noise.narrow(axis, 0, 199)
            assert abs(neighbours.mean().item()) < 0.01

    def test_noise_of_a_part_is_the_part_of_the_noise(self) -> None:
        gray = torch.tensor([False, True])
        line = torch.arange(40).expand(2, -1)
        whole = hash_pixels(torch.tensor([7, 8]), gray, line, line)
        part = hash_pixels(torch.tensor([8]), gray[1:], line[:1, 10:20], line[:1, 5:9])
        assert torch.equal(whole[1:, :, 10:20, 5:9], part)
        assert torch.equal(whole[1, 0], whole[1, 2])
        assert not torch.equal(whole[0, 0], whole[0, 2])

    @pytest.mark.parametrize("exponent", [0, 3, 8])
    def test_poisson_numbers(self, exponent: int) -> None:
        levels = torch.tensor([0, 1, 60, 255]).view(4, 1, 1, 1).expand(4, 3, 80, 80)
        line = torch.arange(80).expand(4, -1)
        bits = hash_pixels(torch.arange(4), torch.zeros(4, dtype=torch.bool), line, line)
        counts = poisson_from_bits(bits, levels, torch.full((4,), exponent))
        for level, sample in zip((0, 1, 60, 255), counts):
            rate = 2**exponent * level / 255
            drawn = np.bincount(sample.flatten().numpy(), minlength=1)
            expected = stats.poisson.pmf(np.arange(len(drawn)), rate) * drawn.sum()
            likely = expected > 5
            if likely.sum() > 1:
                score = ((drawn - expected)[likely] ** 2 / expected[likely]).sum()
                assert stats.chi2.sf(score, likely.sum() - 1) > 1e-4
            else:
                assert drawn[0] >= 0.95 * drawn.sum()

    @pytest.mark.parametrize("exponent", range(9))
    def test_counts_by_the_guide_are_those_of_a_binary_search(self, exponent: int) -> None:
        levels = torch.arange(256).repeat(2 * 3 * 60).view(2, 3, 60, 256)
        bits = torch.randint(-(2**63), 2**63 - 1, levels.shape, generator=torch_generator("guide"))
        # The ends of the range, where the tails are.
        bits[:, :, 0], bits[:, :, 1] = 0, -1
        exponents = torch.tensor([exponent, 8 - exponent])
        assert torch.equal(poisson_from_bits(bits, levels, exponents), search_counts(bits, levels, exponents))

    @pytest.mark.parametrize("kind", ["gaussian", "poisson"])
    def test_bands_do_not_show(self, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
        x = make_batch("bands", 3, 40, 36)["gt"]
        draws = [NoiseDraw(kind, 2.0, gray, 7 + number) for number, gray in enumerate((True, False, True))]
        at_once = noise_fields.add_noise(x, draws)
        monkeypatch.setattr(noise_fields, "_BAND", 3 * 36 * 7)
        assert torch.equal(noise_fields.add_noise(x, draws), at_once)
        assert torch.equal(at_once[0, 0] - x[0, 0] > 0.01, at_once[0, 2] - x[0, 2] > 0.01)
        assert not torch.equal(at_once, x)


class TestSecondOrder:
    @pytest.mark.parametrize("gate", ["batch", "sample"])
    def test_shapes_records_and_keys(self, gate: str) -> None:
        pipeline = SecondOrderDegradation(scale=4, gt_size=32, gate=gate)
        for turn in range(4):
            batch = make_batch(turn, 3, 72, 64)
            parameters = pipeline.draw(3, 72, 64, torch_generator("second", turn))
            assert DegradationParameters.from_dict(json.loads(json.dumps(parameters.to_dict()))) == parameters
            pair = pipeline(batch, torch_generator("second", turn))
            assert pair.gt.shape == (3, 3, 32, 32)
            assert pair.lq.shape == (3, 3, 8, 8)
            assert pair.gt_usm is not None
            again = pipeline.apply({name: value[1:2] for name, value in batch.items()}, parameters.select([1]))
            torch.testing.assert_close(again.lq[0], pair.lq[1], atol=1e-9, rtol=0)
            assert torch.equal(again.gt[0], pair.gt[1])
            draw = parameters.samples[1]
            rows, cols = (slice(4 * start, 4 * start + 32) for start in (draw.top, draw.left))
            sharp = USMSharp()(batch["gt"][1:2].float())[0, :, rows, cols]
            torch.testing.assert_close(pair.gt_usm[1].float(), sharp, atol=1e-5, rtol=0)
            levels = pair.lq * 255
            assert (levels - levels.round()).abs().max() < 1e-9

    def test_steps_in_order(self) -> None:
        """One image, recomputed from its record by public functions."""
        for turn in range(6):
            pipeline = SecondOrderDegradation(scale=2, gt_size=None, gt_usm=False, gate="sample")
            batch = make_batch(turn, 1, 64, 48)
            parameters = pipeline.draw(1, 64, 48, torch_generator("steps", turn))
            draw, jpeg = parameters.samples[0], DiffJPEG(differentiable=False)

            def noisy(x: torch.Tensor, noise) -> torch.Tensor:
                gray, strength = torch.tensor([noise.gray]), torch.tensor([noise.strength])
                rows, cols = torch.arange(x.shape[2])[None], torch.arange(x.shape[3])[None]
                bits = hash_pixels(torch.tensor([noise.seed]), gray, rows, cols)
                if noise.kind == "gaussian":
                    return (x + gaussian_noise(x, bits, strength)).clamp(0, 1)
                return (x + poisson_noise(x, bits, strength, gray, count_photons(x, gray))).clamp(0, 1)

            x = filter2D(batch["gt"], batch["kernel1"])
            x = F.interpolate(x, scale_factor=draw.first.resize, mode=draw.first.mode)
            x = jpeg(noisy(x, draw.first.noise), draw.first.jpeg_quality)
            x = filter2D(x, batch["kernel2"]) if draw.second.blur else x
            size = (int(32 * draw.second.resize), int(24 * draw.second.resize))
            x = noisy(F.interpolate(x, size=size, mode=draw.second.mode), draw.second.noise)
            if draw.sinc_before_jpeg:
                x = filter2D(F.interpolate(x, size=(32, 24), mode=draw.final_mode), batch["sinc_kernel"])
                x = jpeg(x.clamp(0, 1), draw.second.jpeg_quality)
            else:
                x = F.interpolate(jpeg(x, draw.second.jpeg_quality), size=(32, 24), mode=draw.final_mode)
                x = filter2D(x, batch["sinc_kernel"])
            pair = pipeline.apply(batch, parameters)
            torch.testing.assert_close(pair.lq, (x.clamp(0, 1) * 255.0).round() / 255.0, atol=1e-9, rtol=0)
            assert pair.gt_usm is None

    def test_draws_follow_the_options(self) -> None:
        pipeline = SecondOrderDegradation(scale=4, gt_size=32, gate="sample")
        draws: tuple = pipeline.draw(1000, 64, 64, torch_generator("draws")).samples
        for name, shares, low, high in (("first", (0.2, 0.7, 0.1), 0.15, 1.5), ("second", (0.3, 0.4, 0.3), 0.3, 1.2)):
            sizes = np.array([getattr(draw, name).resize for draw in draws])
            assert low <= sizes.min() < sizes.max() <= high
            for drawn, share in zip((np.mean(sizes > 1), np.mean(sizes < 1), np.mean(sizes == 1)), shares):
                assert abs(drawn - share) < 0.05
            assert {getattr(draw, name).mode for draw in draws} == {"area", "bilinear", "bicubic"}
        assert all(draw.first.blur for draw in draws)
        assert abs(np.mean([draw.second.blur for draw in draws]) - 0.8) < 0.05
        assert abs(np.mean([draw.sinc_before_jpeg for draw in draws]) - 0.5) < 0.06
        assert all(draw.second.noise.strength <= 25 for draw in draws)

    def test_gate_batch_keeps_the_batch_together(self) -> None:
        pipeline = SecondOrderDegradation(scale=4, gt_size=32)
        draws: tuple = pipeline.draw(6, 64, 64, torch_generator("together")).samples
        assert len({(draw.first.resize, draw.second.resize, draw.final_mode, draw.top) for draw in draws}) == 1
        assert len({draw.first.jpeg_quality for draw in draws}) == 6

    def test_missing_kernels_are_named(self) -> None:
        batch = make_batch("missing", 1, 64, 64)
        del batch["sinc_kernel"]
        with pytest.raises(ValueError, match="sinc_kernel: not in the batch"):
            SecondOrderDegradation(scale=4, gt_size=32)(batch, torch_generator(0))


class TestNewDegradation:
    """A degradation is one registered class whose constructor declares its options."""

    def test_takes_one_class(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(DEGRADATION_REGISTRY, "_entries", {})

        @DEGRADATION_REGISTRY.register()
        class Mine(Degradation):
            def __init__(self, *, scale: int, gt_size: PositiveInt | None = None, strength: Probability = 0.5) -> None:
                self.scale, self.gt_size, self.strength = scale, gt_size, strength

            def __call__(self, batch: Mapping[str, torch.Tensor], generator: torch.Generator) -> Batch:
                gt = batch["gt"][..., : self.gt_size, : self.gt_size]
                dimmed = gt * 0.5 if torch.rand((), generator=generator) < self.strength else gt
                return Batch(gt, F.avg_pool2d(dimmed, self.scale))

        kind = DEGRADATION_REGISTRY.get("Mine")
        assert list(inspect.signature(kind).parameters) == ["scale", "gt_size", "strength"]
        degradation = kind(scale=4, gt_size=32)
        assert degradation.queue_size is None
        batch = make_batch("mine", 2, 48, 48)
        first, second = (degradation(batch, torch_generator("mine")) for _ in range(2))
        assert torch.equal(first.lq, second.lq)
        assert first.lq.shape == (2, 3, 8, 8)
        with pytest.raises(ValueError, match=r"^strength: expected a value less than or equal to 1, got 2"):
            kind(scale=4, strength=2)
        with pytest.raises(
            ValueError, match=r"^scale: expected an integer .*, got '4'; gt_size: expected a value greater"
        ):
            kind(scale="4", gt_size=0)
        with pytest.raises(TypeError, match="strenght"):
            kind(scale=4, strenght=0.5)

    @pytest.mark.parametrize(
        ("name", "kind", "own"),
        [
            ("Paired", PairedDegradation, {"scale": 1}),
            ("SimpleGated", SimpleGatedDegradation, {"noise_range": (1, 30), "gray_noise_prob": 0.4}),
            ("HardGated", HardGatedDegradation, {"gaussian_noise_prob": 0.5, "poisson_scale_range": (0.05, 3)}),
            ("SecondOrder", SecondOrderDegradation, {"second_blur_prob": 0.8, "l1_gt_usm": True, "gan_gt_usm": False}),
        ],
    )
    def test_options_are_read_from_the_constructor(self, name: str, kind: type, own: dict) -> None:
        assert DEGRADATION_REGISTRY.get(name) is kind
        defaults = {key: value.default for key, value in inspect.signature(kind).parameters.items()}
        expected = {} if name == "Paired" else {"gt_size": None, "queue_size": None, "gate": "batch"}
        assert defaults.items() >= {**expected, **own}.items()
        hints = get_type_hints(kind.__init__, include_extras=True)
        assert hints.keys() == {*defaults, "return"}
        documented = re.findall(r"^        (\w+): ", kind.__doc__.split("Args:")[1].split("Raises:")[0], re.MULTILINE)
        assert sorted(documented) == sorted(defaults)

    def test_a_pool_has_nothing_to_mix_where_every_image_draws_for_itself(self) -> None:
        assert HardGatedDegradation(scale=4, queue_size=8).queue_size == 8
        assert HardGatedDegradation(scale=4, queue_size=8, gate="sample").queue_size is None


class TestBadOptions:
    @pytest.mark.parametrize(
        ("kind", "options", "message"),
        [
            ("hard_gated", {"gt_size": 30}, "gt_size: must be a positive multiple of scale 4"),
            ("hard_gated", {"gt_size": 0}, "gt_size"),
            ("hard_gated", {"scale": 0}, "scale: expected a value greater than 0, got 0"),
            (
                "hard_gated",
                {"gaussian_noise_prob": 1.1},
                "gaussian_noise_prob: expected a value less than or equal to 1, got 1.1",
            ),
            (
                "hard_gated",
                {"gray_noise_prob": -0.1},
                "gray_noise_prob: expected a value greater than or equal to 0, got -0.1",
            ),
            ("hard_gated", {"noise_range": [30, 1]}, r"noise_range: expected \[low, high\], but 30 > 1"),
            ("hard_gated", {"noise_range": 5}, "noise_range: expected a list of numbers, got 5"),
            (
                "hard_gated",
                {"poisson_scale_range": [-1, 2]},
                "poisson_scale_range: expected numbers that are not negative",
            ),
            ("hard_gated", {"jpeg_range": [0, 95]}, "jpeg_range: expected JPEG qualities from 1 to 100"),
            ("simple_gated", {"jpeg_range": [40, 101]}, "jpeg_range: expected JPEG qualities from 1 to 100"),
            ("simple_gated", {"jpeg_range": [float("nan"), 95]}, "jpeg_range"),
            ("simple_gated", {"gate": "image"}, "gate: expected one of 'batch', 'sample', got 'image'"),
            ("second_order", {"resize_prob": [0.5, 0.5, 0.5]}, "resize_prob: expected probabilities that add up to 1"),
            ("second_order", {"resize_prob2": [0.5, 0.5]}, "resize_prob2: expected three probabilities"),
            ("second_order", {"resize_range": [1.5, 0.2]}, r"resize_range: expected \[low, high\], but 1.5 > 0.2"),
            ("second_order", {"resize_range2": [1.1, 1.2]}, "resize_range2: expected .* 0 < low <= 1 <= high"),
            ("second_order", {"jpeg_range2": [95, 30]}, r"jpeg_range2: expected \[low, high\], but 95 > 30"),
            ("second_order", {"second_blur_prob": 2}, "second_blur_prob: expected a value less than or equal to 1"),
            ("second_order", {"gaussian_noise_prob2": -1}, "gaussian_noise_prob2"),
        ],
    )
    def test_are_named_by_the_constructor(self, kind: str, options: dict, message: str) -> None:
        with pytest.raises(ValueError, match=f"^{message}"):
            DEGRADATIONS[kind](**{"scale": 4, "gt_size": 32, **options})

    def test_paired_checks_sizes(self) -> None:
        gt, lq = torch.rand(2, 3, 16, 16), torch.rand(2, 3, 4, 4)
        pair = DEGRADATIONS["paired"](scale=4)({"gt": gt, "lq": lq})
        assert pair.gt is gt
        assert pair.lq is lq
        with pytest.raises(ValueError, match="scale 2"):
            PairedDegradation(scale=2)({"gt": gt, "lq": lq})


def _pair(step: int, size: int = 2, usm: bool = False) -> Batch:
    values = torch.arange(size * step, size * (step + 1), dtype=torch.float32).view(-1, 1, 1, 1)
    lq, gt = values.expand(-1, 3, 2, 2), (10 * values).expand(-1, 3, 4, 4)
    return Batch(gt, lq, gt + 1 if usm else None, gt_path=[f"{value:g}.png" for value in values.flatten().tolist()])


class TestPairPool:
    def test_equals_golden(self) -> None:
        case = load_case("data_pair_pool")
        pool = PairPool(case.config["queue_size"])
        generator = torch.Generator().manual_seed(case.config["seed"])
        seen = []
        for step in range(case.config["steps"]):
            pair = pool.exchange(_pair(step), generator)
            assert pair.gt_usm is None
            seen.append(torch.stack([pair.lq[:, 0, 0, 0], pair.gt[:, 0, 0, 0]]))
        case.check(torch.stack(seen), "out.seen")

    def test_every_pair_comes_out_once(self) -> None:
        pool, generator = PairPool(8, batch_size=2), torch_generator("pool")
        out = []
        for step in range(100):
            pair = pool.exchange(_pair(step, usm=True), generator)
            assert torch.equal(pair.gt[:, 0, 0, 0], 10 * pair.lq[:, 0, 0, 0])
            assert pair.gt_usm is not None
            assert torch.equal(pair.gt_usm, pair.gt + 1)
            if step >= 4:
                out += pair.lq[:, 0, 0, 0].tolist()
        assert len(set(out)) == len(out) == 192
        assert out != sorted(out)
        assert len(pool) == 8

    @pytest.mark.parametrize("steps_before", [0, 1, 7])
    def test_a_restored_pool_goes_on_the_same_way(self, steps_before: int, tmp_path) -> None:
        pool, restored = PairPool(8), PairPool(8)
        for step in range(steps_before):
            pool.exchange(_pair(step, usm=True), torch_generator("pool", step))
        torch.save(pool.state_dict(), tmp_path / "pool.pt")
        restored.load_state_dict(torch.load(tmp_path / "pool.pt", weights_only=True))
        for step in range(steps_before, steps_before + 12):
            first, second = (
                one.exchange(_pair(step, usm=True), torch_generator("pool", step)) for one in (pool, restored)
            )
            assert list(first.images()) == list(second.images()) == ["gt", "lq", "gt_usm"]
            assert all(torch.equal(value, second.images()[name]) for name, value in first.images().items())
            assert first.gt_path == second.gt_path is not None

    def test_files_stay_with_their_images(self) -> None:
        pool, generator = PairPool(8, batch_size=2), torch_generator("pool")
        for step in range(30):
            pair = pool.exchange(_pair(step), generator)
            assert pair.gt_path == [f"{value:g}.png" for value in pair.lq[:, 0, 0, 0].tolist()]
        assert pool.exchange(replace(_pair(30), gt_path=None), generator).gt_path is None

    def test_a_state_without_files_is_restored(self) -> None:
        pool, restored = PairPool(4), PairPool(4)
        for step in range(2):
            pool.exchange(_pair(step), torch_generator(step))
        restored.load_state_dict({key: value for key, value in pool.state_dict().items() if key != "gt_path"})
        seen = {file for step in range(2, 9) for file in restored.exchange(_pair(step), torch_generator(step)).gt_path}
        assert "unknown" in seen
        for step in range(9, 30):
            pair = restored.exchange(_pair(step), torch_generator(step))
            values = pair.lq[:, 0, 0, 0].tolist()
            expected = [f"{value:g}.png" if value >= 4 else "unknown" for value in values]
            assert pair.gt_path == expected

    def test_does_not_keep_the_callers_tensors(self) -> None:
        pool = PairPool(2)
        gt, lq = torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 2, 2)
        pool.exchange(Batch(gt, lq), torch_generator(0))
        gt.fill_(9)
        out = pool.exchange(Batch(gt, lq), torch_generator(1))
        assert not out.gt.any()

    def test_bad_sizes_are_named(self) -> None:
        with pytest.raises(ValueError, match="queue_size: 10 is not divisible by the batch size 4; use 8 or 12"):
            PairPool(10, batch_size=4)
        with pytest.raises(ValueError, match="queue_size"):
            PairPool(0)
        with pytest.raises(ValueError, match="not divisible"):
            PairPool(3).exchange(_pair(0), torch_generator(0))
        pool = PairPool(4)
        pool.exchange(_pair(0), torch_generator(0))
        with pytest.raises(ValueError, match="lq: the pool holds"):
            pool.exchange(Batch(torch.zeros(2, 3, 4, 4), torch.zeros(2, 3, 3, 3)), torch_generator(0))
        with pytest.raises(ValueError, match="pool of 4"):
            PairPool(6).load_state_dict(pool.state_dict())
