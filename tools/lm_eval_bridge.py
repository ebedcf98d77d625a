"""lm-eval's tasks on our scorer.

Texts go to the model as lm-eval's own `hf` back end sends them: no chat template, context and continuation encoded
in one piece, cut from the left where they are longer than the model's context.
"""

import contextlib
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from .base import BadRequest, ToolFailed
from .eval_scoring import Metric, Progress, Scored, fingerprint
from .llama_answers import Prompt, greedy_answers
from .llama_scorer import LlamaScorer, Request
from .lm_eval_tasks import LoadedTasks

__all__ = ["score_tasks"]

_SEED = 1234  # lm-eval's own default for few-shot draws


@dataclass
class _Bridge:
    """lm-eval's three kinds of request on a scorer. `cut` counts texts that were too long."""

    scorer: LlamaScorer
    progress: Progress
    cut: int = 0
    sampled: bool = False

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
        scores = self.scorer.log_likelihoods(requests, self._counter(instances))
        return [(score.log_probability, score.matched == score.tokens) for score in scores]

    def loglikelihood_rolling(self, instances: Sequence[Any]) -> list[float]:
        from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

        sums = []
        on_done = self._counter(instances)
        for instance in instances:
            tokens = list(self.scorer.encode(instance.args[0]))
            if tokens[:1] == [self.scorer.start]:
                del tokens[0]
            windows = get_rolling_token_windows(tokens, self.scorer.start, self.scorer.max_tokens, 1)
            requests = [Request(*map(tuple, make_disjoint_window(window))) for window in windows]
            sums.append(sum(score.log_probability for score in self.scorer.log_likelihoods(requests)))
            on_done(1)
        return sums

    def generate_until(self, instances: Sequence[Any]) -> list[str]:
        prompts = []
        for instance in instances:
            text, options = instance.args
            until = options.get("until") or []
            most = min(int(options.get("max_gen_toks", 256)), self.scorer.max_tokens - 1)
            self.sampled |= bool(options.get("do_sample"))
            tokens = self.scorer.encode(text) or (self.scorer.start,)
            room = self.scorer.max_tokens - most
            self.cut += len(tokens) > room
            stop = tuple(stop for stop in ([until] if isinstance(until, str) else until) if stop)
            prompts.append(Prompt(tokens[-room:], most, stop))
        done = greedy_answers(self.scorer, prompts, self._counter(instances))
        return [answer.text for answer in done]

    def _counter(self, instances: Sequence[Any]) -> Callable[[int], None]:
        """A callback that reports each request as its share of its item's work."""
        sizes = Counter((instance.task_name, instance.doc_id) for instance in instances)
        shares = iter([1 / sizes[instance.task_name, instance.doc_id] for instance in instances])

        def on_done(count: int) -> None:
            self.progress(sum(next(shares) for _ in range(count)))

        return on_done


def _language_model(bridge: _Bridge) -> Any:
    from lm_eval.api.model import LM

    class LlamaLM(LM):
        def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
            return bridge.loglikelihood(requests)

        def loglikelihood_rolling(self, requests: list[Any]) -> list[float]:
            return bridge.loglikelihood_rolling(requests)

        def generate_until(self, requests: list[Any]) -> list[str]:
            # lm-eval hands over one list per kind of request, each instance as often as it is repeated.
            return bridge.generate_until(requests)

    return LlamaLM()


def score_tasks(scorer: LlamaScorer, tasks: LoadedTasks, limit: int | None, progress: Progress) -> Scored:
    """Run the tasks' first `limit` items each; values of a metric that several tasks have stand in one list.

    Raises:
        ToolFailed: a task's own code fails.
    """
    import random

    import numpy as np
    from lm_eval.evaluator import evaluate

    # The same draws of few-shot examples for every model.
    random.seed(0)
    np.random.seed(_SEED)
    for task in tasks.loaded["tasks"].values():
        task.set_fewshot_seed(seed=_SEED)
    bridge = _Bridge(scorer, progress)
    try:
        results = evaluate(_language_model(bridge), tasks.loaded, limit=limit, bootstrap_iters=0, log_samples=True)
    except (BadRequest, ToolFailed):
        raise
    except Exception as error:  # a task runs functions and templates of its own
        raise ToolFailed(f"lm-eval stopped: {type(error).__name__}: {error}") from error
    scored = _collect(tasks.loaded["tasks"], results["samples"])
    if bridge.cut:
        scored.remarks.append(f"{bridge.cut} texts longer than the model's {scorer.max_tokens} tokens lost their start")
    if bridge.sampled:
        scored.remarks.append("the task asks for random sampling; the answers here are greedy")
    return scored


def _collect(tasks: dict[str, Any], samples: dict[str, list[dict[str, Any]]]) -> Scored:
    """lm-eval's samples of all tasks as one list of items, with a metric's values for those that have it."""
    several = len(samples) > 1
    ids: list[str] = []
    prompts: list[str] = []
    answers: list[Any] = []
    values: dict[str, dict[int, Any]] = defaultdict(dict)
    origin: dict[str, tuple[Any, str]] = {}
    chances: dict[str, list[float]] = defaultdict(list)
    for task_name, rows in samples.items():
        task = tasks[task_name]
        choice = task.OUTPUT_TYPE == "multiple_choice"
        filters = {row["filter"] for row in rows}
        numbers: dict[Any, int] = {}
        for row in rows:
            if row["doc_id"] not in numbers:
                numbers[row["doc_id"]] = len(ids)
                ids.append(f"{task_name}:{row['doc_id']}" if several else str(row["doc_id"]))
                prompts.append(fingerprint(repr(row["arguments"])))
                answers.append(_answer(row, choice))
            number = numbers[row["doc_id"]]
            for metric in row["metrics"]:
                name = f"{metric}, {row['filter']}" if len(filters) > 1 else metric
                values[name][number] = row[metric]
                origin.setdefault(name, (task, metric))
                if choice and metric.startswith("acc"):
                    with contextlib.suppress(TypeError, ZeroDivisionError):
                        chances[name].append(1 / len(task.doc_to_choice(row["doc"])))
    metrics = []
    for name, found in values.items():
        task, metric = origin[name]
        column = [found.get(number) for number in range(len(ids))]
        chance = sum(chances[name]) / len(chances[name]) if chances[name] else None
        metrics.append(_metric(name, column, task, metric, chance))
    return Scored(ids, prompts, answers, [metric for metric in metrics if metric is not None], [])


def _answer(row: dict[str, Any], choice: bool) -> Any:
    """What the model said: the number of its choice, or the text that the task's filter kept of its answer."""
    kept = row["filtered_resps"]
    if choice:
        values = [response[0] for response in kept]
        return values.index(max(values))
    first = kept[0]
    return first if isinstance(first, str) else None


def _metric(name: str, values: list[Any], task: Any, metric: str, chance: float | None) -> Metric | None:
    """A metric of lm-eval as one of ours, by how lm-eval puts its items' values together; None for one without."""
    aggregate = task.aggregation().get(metric)
    better = task.higher_is_better().get(metric)
    higher = True if better is None else bool(better)
    way = getattr(aggregate, "__name__", "mean")
    present = [value for value in values if value is not None]
    if way == "perplexity":
        counts = [0 if value is None else 1 for value in values]
        return Metric(name, values, "perplexity", counts, None, higher_is_better=False, bounded=False)
    if way == "weighted_perplexity":
        sums = [None if value is None else value[0] for value in values]
        counts = [0 if value is None else value[1] for value in values]
        return Metric(name, sums, "perplexity", counts, None, higher_is_better=False, bounded=False)
    if way in ("mean", "nanmean") and all(isinstance(value, int | float) for value in present):
        numbers = [None if value is None or value != value else float(value) for value in values]
        bounded = all(0 <= value <= 1 for value in numbers if value is not None)
        return Metric(name, numbers, chance=chance, higher_is_better=higher, bounded=bounded)
    if aggregate is None or not present:
        return None
    return Metric(name, values, "corpus", higher_is_better=higher, bounded=False, aggregate=aggregate)
