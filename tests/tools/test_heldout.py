import random

import pytest
from tunesmith.tools.heldout import MAX_HELDOUT, draw, heldout_size, key_of


@pytest.mark.parametrize("rows", [0, 1, 9, 10, 11, 39, 40, 41, 199, 200, 201, 4999, 5000, 5001, 10**7])
def test_the_size_follows_the_rule(rows: int) -> None:
    size = heldout_size(rows, 0.1)
    if rows < 10:
        assert size == 0
    elif rows < 40:
        assert size == rows // 2
    else:
        assert size == min(max(round(rows * 0.1), 20), 500)
        assert size <= rows / 2


def keys_with_repeats(random_: random.Random) -> list[int]:
    count = random_.randrange(2, 400)
    return [key_of(f"question {random_.randrange(count)}") for _ in range(count)]


def test_the_draw_has_the_wanted_size_whatever_the_order() -> None:
    for seed in range(60):
        random_ = random.Random(seed)
        keys = keys_with_repeats(random_)
        size = heldout_size(len(keys), 0.1)
        chosen = draw(keys, size, seed)
        held = sum(key in chosen for key in keys)
        assert held <= size
        if len(set(keys)) > len(keys) / 2 and size:
            assert held == size
        random_.shuffle(keys)
        assert draw(keys, size, seed) == chosen


def test_a_few_more_rows_hardly_move_the_draw() -> None:
    for seed in range(20):
        keys = [key_of(f"{seed} question {number}") for number in range(1000)]
        before = draw(keys, heldout_size(1000, 0.1), seed)
        longer = [*keys, *(key_of(f"{seed} new {number}") for number in range(10))]
        after = draw(longer, heldout_size(1010, 0.1), seed)
        assert len(before - after) <= 10


def test_another_seed_draws_other_rows() -> None:
    keys = [key_of(str(number)) for number in range(1000)]
    assert draw(keys, MAX_HELDOUT, 1) != draw(keys, MAX_HELDOUT, 2)


def test_the_draw_of_a_seed_is_the_same_in_every_version() -> None:
    # Rows that were held out must never be trained on later, so these numbers may not change.
    assert key_of("question 1") == 6806025773676227157
    keys = [key_of(f"question {number}") for number in range(12)]
    assert sorted(keys.index(key) for key in draw(keys, 3, 42)) == [1, 4, 6]
