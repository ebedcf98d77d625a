"""lm-eval's language model on our scorer: its three kinds of request, and its chat prompts.

Texts go to the model as lm-eval's own `hf` back end sends them: context and continuation encoded in one piece, cut
from the left where they are longer than the model's context, BOS once.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from .base import ToolFailed
from .chat_template import Chat
from .eval_scoring import Progress, chat_texts
from .llama_answers import Prompt, greedy_answers
from .llama_scorer import LlamaScorer, Request

__all__ = ["ChatPrompts", "TaskRequests", "language_model"]


class ChatPrompts:
    """Conversations of lm-eval's tasks in the file's own chat template, all rendered at once by `prepare`."""

    def __init__(self, scorer: LlamaScorer) -> None:
        self._scorer = scorer
        self._texts: dict[str, str] = {}

    def prepare(self, tasks: Iterable[Any], limit: int | None) -> None:
        """Render what the tasks will ask for: their requests are built once here, and again by lm-eval."""
        asked: dict[str, tuple[list[dict[str, str]], bool]] = {}

        def collect(messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            asked[json.dumps([messages, add_generation_prompt])] = messages, add_generation_prompt
            return ""

        for task in tasks:
            task.build_all_requests(
                limit=limit, apply_chat_template=True, fewshot_as_multiturn=True, chat_template=collect
            )
        self._texts.update(zip(asked, self._render(list(asked.values())), strict=True))

    def text(self, messages: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """The prompt. Without `add_generation_prompt` the last message is the begin of an answer and stays open."""
        key = json.dumps([messages, add_generation_prompt])
        if key not in self._texts:
            (self._texts[key],) = self._render([(messages, add_generation_prompt)])
        return self._texts[key]

    def _render(self, asked: Sequence[tuple[list[dict[str, str]], bool]]) -> list[str]:
        texts = chat_texts(self._scorer, [Chat(messages, add_generation_prompt=ask) for messages, ask in asked])
        return [
            text if ask else _open_end(text, messages[-1]["content"])
            for text, (messages, ask) in zip(texts, asked, strict=True)
        ]


def _open_end(text: str, last: str) -> str:
    """A conversation up to the last word of its last message.

    >>> _open_end("<user>What?</user><model>It is</model>", "It is")
    '<user>What?</user><model>It is'
    """
    place = text.rfind(last.strip())
    if place < 0:
        raise ToolFailed(f"the chat template does not write the begin of an answer, `{last[:40]}`")
    whole = last.lstrip()
    return text[: place + len(whole if text.startswith(whole, place) else last.strip())]


@dataclass
class TaskRequests:
    """lm-eval's requests on a scorer.

    Attributes:
        cut: texts that were too long and lost their start.
        sampled: whether a task asked for random sampling; answers are greedy all the same.
    """

    scorer: LlamaScorer
    progress: Progress = lambda items: None
    cut: int = 0
    sampled: bool = False
    chats: ChatPrompts = field(init=False)

    def __post_init__(self) -> None:
        self.chats = ChatPrompts(self.scorer)

    def _fitting(self, request: Request) -> Request:
        room = self.scorer.max_tokens + 1 - len(request.continuation)
        if len(request.context) <= room:
            return request
        self.cut += 1
        if room >= 1:
            return Request(request.context[-room:], request.continuation)
        kept = request.continuation[-self.scorer.max_tokens - 1 :]
        return Request(kept[:1], kept[1:])

    def loglikelihood(self, instances: Sequence[Any]) -> list[tuple[float, bool]]:
        requests = [self._fitting(self.scorer.encode_request(*instance.args)) for instance in instances]
        scores = self.scorer.log_likelihoods(requests, self._counter(instances, [1] * len(instances)))
        return [(score.log_probability, score.matched == score.tokens) for score in scores]

    def loglikelihood_rolling(self, instances: Sequence[Any]) -> list[float]:
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        requests: list[Request] = []
        sizes = []
        for instance in instances:
            tokens = list(self.scorer.encode(instance.args[0]))
            if tokens[:1] == [self.scorer.start]:
                del tokens[0]
            windows = get_rolling_token_windows(tokens, self.scorer.start, self.scorer.max_tokens, 1)
            pieces = [Request(*map(tuple, make_disjoint_window(window))) for window in windows]
            requests += pieces
            sizes.append(len(pieces))
        scores = iter(self.scorer.log_likelihoods(requests, self._counter(instances, sizes)))
        return [sum(next(scores).log_probability for _ in range(size)) for size in sizes]

    def generate_until(self, instances: Sequence[Any]) -> list[str]:
        # lm-eval hands over an instance as often as it is repeated; a greedy answer is always the same.
        from lm_eval.models.utils import normalize_gen_kwargs

        prompts: dict[str, Prompt] = {}
        keys = []
        for instance in instances:
            text, options = instance.args
            keys.append(json.dumps([text, options], sort_keys=True, default=str))
            if keys[-1] in prompts:
                continue
            settled = normalize_gen_kwargs(options)
            most = min(settled["max_gen_toks"], self.scorer.max_tokens - 1)
            self.sampled |= bool(settled["do_sample"])
            tokens = self.scorer.encode(text) or (self.scorer.start,)
            room = self.scorer.max_tokens - most
            self.cut += len(tokens) > room
            prompts[keys[-1]] = Prompt(tokens[-room:], most, tuple(stop for stop in settled["until"] if stop))
        shares = Counter(keys)
        counter = self._counter(instances, [1] * len(instances))
        counts = iter([shares[key] for key in prompts])
        done = greedy_answers(
            self.scorer, list(prompts.values()), lambda count: counter(sum(next(counts) for _ in range(count)))
        )
        texts = {key: answer.text for key, answer in zip(prompts, done, strict=True)}
        return [texts[key] for key in keys]

    def _counter(self, instances: Sequence[Any], sizes: Sequence[int]) -> Callable[[int], None]:
        """A callback that reports what is done as shares of items; `sizes` are the requests of each instance."""
        of_item = Counter((instance.task_name, instance.doc_id) for instance in instances)
        shares = iter(
            [
                1 / of_item[instance.task_name, instance.doc_id] / size
                for instance, size in zip(instances, sizes, strict=True)
                for _ in range(size)
            ]
        )

        def on_done(count: int) -> None:
            self.progress(sum(next(shares) for _ in range(count)))

        return on_done


def language_model(requests: TaskRequests) -> Any:
    """An `LM` for `lm_eval.evaluator.evaluate`."""
    from lm_eval.api.model import LM

    class LlamaLM(LM):
        tokenizer_name = "gguf"

        def loglikelihood(self, instances: list[Any]) -> list[tuple[float, bool]]:
            return requests.loglikelihood(instances)

        def loglikelihood_rolling(self, instances: list[Any]) -> list[float]:
            return requests.loglikelihood_rolling(instances)

        def generate_until(self, instances: list[Any]) -> list[str]:
            return requests.generate_until(instances)

        def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
            return requests.chats.text(chat_history, add_generation_prompt)

        def chat_template(self, chat_template: bool | str = False) -> str | None:
            return requests.scorer.model.chat_template or ""

    return LlamaLM()
