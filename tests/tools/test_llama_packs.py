"""Texts that begin alike share tokens, and each still has exactly its own."""

import random

from tunesmith.tools.llama_packs import common_start, lay_out, plan

TOKENS, SEQUENCES = 40, 6


def _texts(seed: int) -> tuple[list[tuple[int, ...]], list[int]]:
    """Random texts that often begin with each other's starts, and where the wanted logits of each begin."""
    random_ = random.Random(seed)
    texts: list[tuple[int, ...]] = []
    for _ in range(random_.randint(1, 25)):
        start = random_.choice(texts)[: random_.randint(0, 30)] if texts and random_.random() < 0.8 else ()
        texts.append((*start, *(random_.randint(0, 2) for _ in range(random_.randint(1, 20)))))
    return texts, [random_.randint(0, len(text) - 1) for text in texts]


def test_every_text_is_computed_once_in_packs_that_fit() -> None:
    for seed in range(200):
        texts, needed = _texts(seed)
        for sharing in (True, False):
            packs = plan(texts, needed, tokens=TOKENS, sequences=SEQUENCES, sharing=sharing)
            assert sorted(i for pack in packs for i in pack.members) == list(range(len(texts)))
            for pack in packs:
                assert len(pack.members) <= SEQUENCES
                assert pack.cells - pack.shared <= TOKENS or len(pack.members) == 1


def test_each_text_sees_its_own_tokens_in_order_and_what_is_wanted_is_computed() -> None:
    for seed in range(200):
        texts, needed = _texts(seed)
        before: tuple[int, ...] = ()
        for pack in plan(texts, needed, tokens=TOKENS, sequences=SEQUENCES, sharing=True):
            members = [texts[i] for i in pack.members]
            assert before[: pack.shared] == members[0][: pack.shared]  # what the pack before left in memory
            batch = lay_out(members, pack.shared, 1, sharing=True)
            assert len(batch.tokens) == pack.cells - pack.shared
            assert len(set(zip(batch.positions, map(tuple, batch.sequences), strict=True))) == len(batch.tokens)
            for number, text in enumerate(members):
                start, places = batch.starts[number], batch.places[number]
                assert text[:start] == members[0][:start]
                assert start <= pack.shared
                assert tuple(batch.tokens[k] for k in places) == text[start:]
                assert [batch.positions[k] for k in places] == list(range(start, len(text)))
                assert places == [k for k, owners in enumerate(batch.sequences) if 1 + number in owners]
                assert start <= needed[pack.members[number]]
            before = members[-1]


def test_sequences_that_share_a_token_hold_the_same_cells_before_it() -> None:
    """What llama.cpp asks of a token with several sequences."""
    for seed in range(200):
        texts, needed = _texts(seed)
        for pack in plan(texts, needed, tokens=TOKENS, sequences=SEQUENCES, sharing=True):
            batch = lay_out([texts[i] for i in pack.members], pack.shared, 1, sharing=True)
            for owners in batch.sequences:
                assert len({batch.starts[owner - 1] for owner in owners}) == 1


def test_examples_that_all_items_share_are_computed_once_and_a_choices_first_words_too() -> None:
    examples = tuple(range(100, 130))
    texts = [(*examples, item, *choice) for item in (1, 2, 3) for choice in ((7, 8, 9), (7, 8, 4), (5,))]
    packs = plan(texts, [30] * len(texts), tokens=100, sequences=99, sharing=True)
    assert sum(pack.cells - pack.shared for pack in packs) == 30 + 3 * (1 + 4 + 1)
    alone = plan(texts, [30] * len(texts), tokens=100, sequences=99, sharing=False)
    assert sum(pack.cells for pack in alone) == sum(map(len, texts))
    assert common_start((), (1,)) == 0
