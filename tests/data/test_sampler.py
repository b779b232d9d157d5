"""The visiting order against the golden case, and its exact resumption."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from golden_cases import load_case

from basicsr.data import EnlargedSampler, SampleIndex

CASE = load_case("data_sampler")


@pytest.mark.parametrize("key", CASE.info["outputs"])
def test_order_as_published(key: str) -> None:
    call = CASE.config["calls"][key]
    sampler = EnlargedSampler(range(call["dataset_len"]), call["num_replicas"], call["rank"], call["ratio"])
    sampler.set_epoch(call["epoch"])
    order = list(sampler)
    assert np.array_equal(np.array(order), CASE.arrays[key])
    assert len(order) == len(sampler) == sampler.num_samples
    assert all(index == index.draw % call["dataset_len"] and index.epoch == call["epoch"] for index in order)


def test_resuming_within_an_epoch_goes_on_where_it_stopped() -> None:
    for rank in range(3):
        sampler = EnlargedSampler(range(10), 3, rank, 7)
        sampler.set_epoch(4)
        whole = [(int(i), i.epoch, i.draw) for i in sampler]
        sampler.set_epoch(4, start=27)
        assert len(sampler) == sampler.num_samples - 9
        assert [(int(i), i.epoch, i.draw) for i in sampler] == whole[9:]
        sampler.set_epoch(5)
        assert len(sampler) == sampler.num_samples


def test_ranks_share_every_draw_once() -> None:
    draws: list[int] = []
    for rank in range(4):
        sampler = EnlargedSampler(range(7), 4, rank, 3)
        draws += [index.draw for index in sampler]
    assert sorted(draws) == list(range(24))


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (1, 3), (4, 2)])
@pytest.mark.parametrize("count", [101, 12])
def test_another_number_of_ranks_deals_what_is_left_of_the_epoch(count: int, before: int, after: int) -> None:
    samplers = [EnlargedSampler(range(count), before, rank) for rank in range(before)]
    each = samplers[0].num_samples // 3
    draws = []
    for sampler in samplers:
        sampler.set_epoch(5)
        draws += [index.draw for index in sampler][:each]
    left = samplers[0].total_size - len(draws)
    for rank in range(after):
        sampler = EnlargedSampler(range(count), after, rank)
        sampler.set_epoch(5, len(draws[: before * each]), before)
        mine = [index.draw for index in sampler]
        assert len(mine) == len(sampler) == left // after
        draws += mine
    # The last of them, which make no sample for every rank, wait for the next epoch.
    assert len(set(draws)) == len(draws) == samplers[0].total_size - left % after


@pytest.mark.parametrize(("before", "after"), [(1, 2), (2, 1), (1, 3), (4, 2), (3, 3)])
@pytest.mark.parametrize(("count", "ratio"), [(101, 1), (12, 1), (7, 1.5), (1, 1)])
def test_every_image_is_used_once_whatever_numbers_of_ranks_share_an_epoch(
    count: int, ratio: float, before: int, after: int
) -> None:
    positions = math.ceil(count * ratio)

    def deal(ranks: int, start: int) -> list[list[SampleIndex]]:
        samplers = [EnlargedSampler(range(count), ranks, rank, ratio, pads_order=False) for rank in range(ranks)]
        for sampler in samplers:
            sampler.set_epoch(5, start, before)
        parts = [list(sampler) for sampler in samplers]
        assert {len(part) for part in parts} == {len(samplers[0])}
        return parts

    for each in range(math.ceil(positions / before) + 1):
        visits = [index for part in deal(before, 0) for index in part[:each]]
        visits += [index for part in deal(after, each * before) for index in part]
        draws = sorted(index.draw for index in visits)
        assert draws[:positions] == list(range(positions)) and len(draws) - positions < max(before, after)
        assert len(set(draws)) == len(draws)
        assert all(index == index.draw % positions % count for index in visits)


@pytest.mark.parametrize("key", CASE.info["outputs"])
def test_the_order_for_any_number_of_ranks_is_the_published_one_where_they_divide_it(key: str) -> None:
    call = CASE.config["calls"][key]
    arguments = range(call["dataset_len"]), call["num_replicas"], call["rank"], call["ratio"]
    published, other = EnlargedSampler(*arguments), EnlargedSampler(*arguments, pads_order=False)
    for sampler in (published, other):
        sampler.set_epoch(call["epoch"])
    divides = call["dataset_len"] * call["ratio"] % call["num_replicas"] == 0
    assert (list(other) == list(published)) == divides and len(other) == len(published)


def test_index_is_an_integer_that_survives_pickling() -> None:
    index = pickle.loads(pickle.dumps(SampleIndex(3, epoch=5, draw=23)))
    assert (index, index.epoch, index.draw, [10, 11, 12, 13][index]) == (3, 5, 23, 13)
    assert SampleIndex(3).draw == 3


def test_bad_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="rank 2"):
        EnlargedSampler(range(3), 2, 2)
    with pytest.raises(ValueError, match="dataset_enlarge_ratio"):
        EnlargedSampler(range(3), ratio=0)
    with pytest.raises(ValueError, match="empty"):
        EnlargedSampler([])
    with pytest.raises(ValueError, match="start 9"):
        EnlargedSampler(range(3)).set_epoch(0, 9)
