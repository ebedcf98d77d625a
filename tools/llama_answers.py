"""Greedy answers of a GGUF file, several at a time: when one ends, the next prompt takes its place."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .llama_cpp import LlamaContext, LlamaModel
from .llama_scorer import TOKENS_TOGETHER, LlamaScorer, common_start, extend

__all__ = ["Generated", "Prompt", "greedy_answers"]

_TOGETHER = 16


@dataclass(frozen=True)
class Prompt:
    """A text to continue up to an end-of-generation token or the first of `stop`.

    The answer has at most `max_tokens`; the last `begun` of `tokens` belong to it already.
    """

    tokens: tuple[int, ...]
    max_tokens: int
    stop: tuple[str, ...] = ()
    begun: int = 0


@dataclass(frozen=True)
class Generated:
    """The answer without its end; `finished` is false where `max_tokens` cut it."""

    text: str
    tokens: int
    finished: bool


@dataclass
class _Answering:
    """An answer under way: `next` are the tokens to compute, which stand from `position` on."""

    index: int
    prompt: Prompt
    next: list[int]
    position: int
    tokens: int = 0
    raw: bytearray = field(default_factory=bytearray)

    def take(self, token: int, model: LlamaModel) -> Generated | None:
        """Add the most probable token; the whole answer where it ends with that."""
        if model.is_eog(token):
            return self._done(finished=True)
        self.position += len(self.next)
        self.next = [token]
        self.tokens += 1
        self.raw += model.token_bytes(token, special=False)
        if self.prompt.stop:
            text = self.raw.decode(errors="replace")
            cuts = [text.index(stop) for stop in self.prompt.stop if stop in text]
            if cuts:
                return Generated(text[: min(cuts)], self.tokens, True)
        return self._done(finished=False) if self.tokens >= self.prompt.max_tokens else None

    def _done(self, *, finished: bool) -> Generated:
        return Generated(self.raw.decode(errors="replace"), self.tokens, finished)


def _begin(index: int, prompt: Prompt, shared: int, model: LlamaModel) -> _Answering:
    answering = _Answering(index, prompt, list(prompt.tokens[shared:]), shared, prompt.begun)
    for token in prompt.tokens[len(prompt.tokens) - prompt.begun :]:
        answering.raw += model.token_bytes(token, special=False)
    return answering


def greedy_answers(
    scorer: LlamaScorer, prompts: Sequence[Prompt], on_done: Callable[[int], None] = lambda count: None
) -> list[Generated]:
    """The most probable continuation of each prompt, token by token, in order.

    `on_done` is told how many more are done. What all prompts begin with is computed once.

    Raises:
        ValueError: a prompt is empty, or does not fit the model with its answer.
    """
    for prompt in prompts:
        if not prompt.tokens or len(prompt.tokens) - prompt.begun + prompt.max_tokens > scorer.max_tokens:
            raise ValueError(f"a prompt and its answer need 1 to {scorer.max_tokens} tokens")
    if not prompts:
        return []
    shared = common_start([prompt.tokens[:-1] for prompt in prompts])
    longest = sorted((len(p.tokens) - shared - p.begun + p.max_tokens for p in prompts), reverse=True)
    free = list(range(min(_TOGETHER, len(prompts)), 0, -1))
    cells = shared + sum(longest[: len(free)])
    waiting = list(range(len(prompts) - 1, -1, -1))
    active: dict[int, _Answering] = {}
    results: dict[int, Generated] = {}
    with LlamaContext(scorer.model, n_ctx=cells, n_seq_max=len(free) + 1, n_batch=TOKENS_TOGETHER) as context:
        if shared:
            extend(context, [(0, 0, prompts[0].tokens[:shared])], logits=False)
        while waiting or active:
            room = TOKENS_TOGETHER - len(active)
            while waiting and free and room > 0:
                index, sequence = waiting.pop(), free.pop()
                active[sequence] = _begin(index, prompts[index], shared, scorer.model)
                room -= len(active[sequence].next)
                if shared:
                    context.seq_cp(0, sequence)
            best = extend(context, [(s, a.position, a.next) for s, a in active.items()]).argmax(axis=1)
            for sequence, token in zip(list(active), best, strict=True):
                done = active[sequence].take(int(token), scorer.model)
                if done is not None:
                    results[active.pop(sequence).index] = done
                    context.seq_rm(sequence)
                    free.append(sequence)
                    on_done(1)
    return [results[index] for index in range(len(prompts))]
