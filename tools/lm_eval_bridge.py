"""Run lm-eval's tasks on our scorer, and take over what they measure item by item."""

from collections import defaultdict
from typing import Any

from .base import BadRequest, ToolFailed
from .eval_canary import check_task_requests
from .eval_scoring import Metric, Progress, Scored, fingerprint
from .llama_scorer import LlamaScorer
from .lm_eval_model import TaskRequests, language_model
from .lm_eval_tasks import LoadedTasks

__all__ = ["score_tasks"]

_SEED = 1234  # lm-eval's own default for few-shot draws


def score_tasks(
    scorer: LlamaScorer, tasks: LoadedTasks, limit: int | None, progress: Progress, *, chat_template: bool = False
) -> Scored:
    """Run the tasks' first `limit` items each; values of a metric that several tasks have stand in one list.

    With `chat_template` prompts are put in the file's own one, few-shot examples as turns of a conversation.

    Raises:
        ToolFailed: the canary fails on the way of lm-eval's requests, or a task's own code fails.
    """
    from lm_eval.evaluator import evaluate

    check_task_requests(scorer, language_model(TaskRequests(scorer)))
    requests = TaskRequests(scorer, progress)
    try:
        if chat_template:
            _seed(tasks)
            requests.chats.prepare(tasks.loaded["tasks"].values(), limit)
        _seed(tasks)
        results = evaluate(
            language_model(requests),
            tasks.loaded,
            limit=limit,
            bootstrap_iters=0,
            log_samples=True,
            apply_chat_template=chat_template,
            fewshot_as_multiturn=chat_template,
        )
    except (BadRequest, ToolFailed):
        raise
    except Exception as error:  # a task runs functions and templates of its own
        raise ToolFailed(f"lm-eval stopped: {type(error).__name__}: {error}") from error
    scored = _collect(tasks.loaded["tasks"], results["samples"])
    if requests.cut:
        scored.remarks.append(
            f"{requests.cut} texts longer than the model's {scorer.max_tokens} tokens lost their start"
        )
    if requests.sampled:
        scored.remarks.append("the task asks for random sampling; the answers here are greedy")
    return scored


def _seed(tasks: LoadedTasks) -> None:
    """The same draws of few-shot examples for every model."""
    import random

    import numpy as np

    random.seed(0)
    np.random.seed(_SEED)
    for task in tasks.loaded["tasks"].values():
        task.set_fewshot_seed(seed=_SEED)


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
                answers.append(_answer(row, _choices(task, row) if choice else 0))
            number = numbers[row["doc_id"]]
            for metric in row["metrics"]:
                name = f"{metric}, {row['filter']}" if len(filters) > 1 else metric
                values[name][number] = row[metric]
                origin.setdefault(name, (task, metric))
                if choice and metric.startswith("acc") and row[metric] in (0, 1):  # fractions are no guesses
                    chances[name].append(1 / _choices(task, row))
    metrics = []
    for name, found in values.items():
        task, metric = origin[name]
        column = [found.get(number) for number in range(len(ids))]
        chance = sum(chances[name]) / len(found) if len(chances[name]) == len(found) else None
        metrics.append(_metric(name, column, task, metric, chance))
    return Scored(ids, prompts, answers, [metric for metric in metrics if metric is not None], [])


def _choices(task: Any, row: dict[str, Any]) -> int:
    """How many choices an item has. There may be more responses, where choices are also scored without the question."""
    return len(row["filtered_resps"]) // (2 if "acc_mutual_info" in task.aggregation() else 1)


def _answer(row: dict[str, Any], choices: int) -> Any:
    """What the model said: the number of its choice, or the text that the task's filter kept of its answer."""
    kept = row["filtered_resps"]
    if choices:
        values = [response[0] for response in kept[:choices]]
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
