"""Greedy answers of a GGUF file, several at a time: when one ends, the next prompt takes its place."""

from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field, replace

from .llama_cpp import LlamaContext, LlamaModel, cpu_threads
from .llama_packs import common_start
from .llama_scorer import TOKENS_TOGETHER, LlamaScorer, Request, Score, log_probabilities, score_of

__all__ = ["Generated", "Prompt", "greedy_answers"]

_TOGETHER = 64  # a step of 64 tokens costs two cores about as much for each as any larger one
_CELL_BYTES = 1024**3  # for the keys and values of all answers under way
_LOGITS_ROWS = 256


@dataclass(frozen=True)
class Prompt:
    """A text to continue up to an end-of-generation token or the first of `stop`, by `max_tokens` at most.

    A `reference`, where there is one, is scored on the way, and greedy decoding goes on behind the tokens of it that
    it would have written itself.
    """

    tokens: tuple[int, ...]
    max_tokens: int
    stop: tuple[str, ...] = ()
    reference: tuple[int, ...] = ()


@dataclass(frozen=True)
class Generated:
    """The answer without its end; `finished` is false where `max_tokens` cut it. `score` is the reference's."""

    text: str
    tokens: int
    finished: bool
    score: Score | None = None


@dataclass
class _Answering:
    """An answer under way: `next` are the tokens to compute, which stand from `position` on.

    The last of them are `checked`, the reference but for its last token, until that has been computed once.
    """

    index: int
    prompt: Prompt
    next: list[int]
    position: int
    checked: bool
    tokens: int = 0
    raw: bytearray = field(default_factory=bytearray)
    score: Score | None = None

    @property
    def wanted(self) -> int:
        """Of how many of the last tokens the logits are wanted."""
        return len(self.prompt.reference) if self.checked else 1

    def check(self, values: Sequence[tuple[float, bool]], best: Sequence[int], model: LlamaModel) -> Generated | None:
        """Take over what greedy decoding would have written of the reference; the rest is to be forgotten."""
        self.score, self.checked = score_of(values), False
        matched, reference = self.score.matched, self.prompt.reference
        computed = self.position + len(self.next) - (len(reference) - 1)  # up to the end of the prompt
        for token in reference[:matched]:
            done = self.take(token, model)
            if done is not None:
                return done
        if matched == len(reference):  # its last token is accepted, but not computed yet
            self.next, self.position = [reference[-1]], computed + matched - 1
            return None
        self.next, self.position = [best[matched]], computed + matched
        return self.take(best[matched], model)

    def take(self, token: int, model: LlamaModel) -> Generated | None:
        """Add a token to the answer; the whole answer where it ends with that."""
        if model.is_eog(token):
            return self._done(finished=True)
        self.tokens += 1
        self.raw += model.token_bytes(token, special=False)
        if self.prompt.stop:
            text = self.raw.decode(errors="replace")
            cuts = [text.index(stop) for stop in self.prompt.stop if stop in text]
            if cuts:
                return Generated(text[: min(cuts)], self.tokens, True, self.score)
        return self._done(finished=False) if self.tokens >= self.prompt.max_tokens else None

    def _done(self, *, finished: bool) -> Generated:
        return Generated(self.raw.decode(errors="replace"), self.tokens, finished, self.score)


def greedy_answers(
    scorer: LlamaScorer, prompts: Sequence[Prompt], on_done: Callable[[int], None] = lambda count: None
) -> list[Generated]:
    """The most probable continuation of each prompt, token by token, in order.

    `on_done` is told how many more are done. What all prompts begin with is computed once.

    Raises:
        ValueError: a prompt is empty, or does not fit the model with its answer or its reference.
        ToolFailed: a logit is not a finite number.
    """
    for prompt in prompts:
        if not prompt.tokens or _room(prompt) > scorer.max_tokens:
            raise ValueError(f"a prompt and its answer need 1 to {scorer.max_tokens} tokens")
    if not prompts:
        return []
    if scorer.model.recurrent and any(prompt.reference for prompt in prompts):  # its state can't go back
        scores = scorer.log_likelihoods([Request(prompt.tokens, prompt.reference) for prompt in prompts])
        answers = greedy_answers(scorer, [replace(prompt, reference=()) for prompt in prompts], on_done)
        return [replace(answer, score=score) for answer, score in zip(answers, scores, strict=True)]
    texts = [prompt.tokens[:-1] for prompt in prompts]
    shared = common_start(min(texts), max(texts)) if len(prompts) > 1 else 0
    cells = max(map(_room, prompts))
    together = max(1, min(_TOGETHER, len(prompts), _CELL_BYTES // (cells * scorer.model.cell_bytes)))
    free = list(range(1, together + 1))  # sequence 0 holds what all prompts begin with
    waiting = list(range(len(prompts) - 1, -1, -1))
    active: dict[int, _Answering] = {}
    results: dict[int, Generated] = {}
    with (
        ThreadPoolExecutor(cpu_threads()) as pool,
        LlamaContext(
            scorer.model,
            n_ctx=(together + 1) * -(-cells // 256) * 256,  # llama.cpp gives each sequence a multiple of 256
            n_seq_max=together + 1,
            n_batch=TOKENS_TOGETHER,
            unified=False,
        ) as context,
    ):
        if shared:
            start = prompts[0].tokens[:shared]
            context.decode(start, range(shared), [0] * shared, [False] * shared)
        while waiting or active:
            while waiting and free:
                prompt, sequence = prompts[waiting[-1]], free.pop(0)
                text = [*prompt.tokens[shared:], *prompt.reference[:-1]]
                active[sequence] = _Answering(waiting.pop(), prompt, text, shared, bool(prompt.reference))
                if shared:
                    context.seq_cp(0, sequence)
            # llama.cpp computes sequences together whose numbers follow each other: the last one fills a gap.
            while free and active and free[0] < max(active):
                last = max(active)
                context.seq_cp(last, free[0])
                context.seq_rm(last)
                active[free[0]] = active.pop(last)
                free = sorted([*free[1:], last])
            new = {sequence: answering for sequence, answering in active.items() if len(answering.next) > 1}
            for sequence, done in _step(context, new or active, pool).items():
                if done is None:
                    context.seq_rm(sequence, active[sequence].position)  # what of a reference was not taken over
                    continue
                results[active.pop(sequence).index] = done
                context.seq_rm(sequence)
                free = sorted([*free, sequence])
                on_done(1)
    return [results[index] for index in range(len(prompts))]


def _room(prompt: Prompt) -> int:
    return len(prompt.tokens) + max(prompt.max_tokens, len(prompt.reference) - 1)


def _step(context: LlamaContext, active: dict[int, _Answering], pool: Executor) -> dict[int, Generated | None]:
    """One more token for each answer under way, by sequence; the answer where it is complete."""
    tokens: list[int] = []
    positions: list[int] = []
    sequences: list[int] = []
    wanted: list[bool] = []
    targets: list[int | None] = []  # of each wanted row
    order = sorted(active)
    for sequence in order:
        answering = active[sequence]
        part, rows = answering.next, answering.wanted
        tokens += part
        positions += range(answering.position, answering.position + len(part))
        sequences += [sequence] * len(part)
        wanted += [False] * (len(part) - rows) + [True] * rows
        targets += answering.prompt.reference if answering.checked else [None]
    best: list[int] = []
    values: list[tuple[float, bool]] = []
    for logits_NV in context.decode_pieces(tokens, positions, sequences, wanted, most_rows=_LOGITS_ROWS):
        here = targets[len(best) : len(best) + len(logits_NV)]
        best += logits_NV.argmax(axis=1).tolist()
        scored = [(row, target) for row, target in enumerate(here) if target is not None]
        if scored:
            values += log_probabilities(logits_NV, [row for row, _ in scored], [target for _, target in scored], pool)
    done: dict[int, Generated | None] = {}
    rows_done = values_done = 0
    for sequence in order:
        answering = active[sequence]
        rows = answering.wanted
        own = best[rows_done : rows_done + rows]
        rows_done += rows
        if answering.checked:
            done[sequence] = answering.check(values[values_done : values_done + rows], own, context.model)
            values_done += rows
        else:
            answering.position += len(answering.next)
            answering.next = own
            done[sequence] = answering.take(own[0], context.model)
    return done
