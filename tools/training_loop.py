"""Run TRL's trainer over a fixed order of batches, with live figures, control, and checkpoints at every step's end."""

import dataclasses
import json
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .base import ToolFailed, emit, note
from .batch_order import PROBE_STEPS
from .checkpoints import Checkpoint, write_checkpoint
from .control_file import STOPPED, ControlFile, Save, SetValue, Stop
from .probe import Probe
from .short_attention import attention_for
from .training_memory import return_free_memory
from .training_state import capture, restore, restore_weights, set_learning_rate

__all__ = ["METRICS", "Progress", "StepKeeper", "read_metrics", "train"]

METRICS = "metrics.jsonl"

_FIRST_CHECKPOINT_SECONDS = 10
_CHECKPOINT_SECONDS = 60
_STEPS_BETWEEN_RETURNS = 20  # of freed memory; at each step, its pages would have to be asked for again at once
_LOOK_SECONDS = 0.1  # between two looks for a word that is waited for
_RATE_STEPS = 20  # the speed shown is that of the last steps


@dataclasses.dataclass
class Progress:
    """What the loop knows of a run: `tokens` per step as planned, and what was done so far."""

    tokens: Sequence[int]
    steps_per_epoch: int
    step: int = 0
    seconds: float = 0.0
    recent: list[tuple[int, float]] = dataclasses.field(default_factory=list)

    @property
    def total(self) -> int:
        return len(self.tokens)

    def advance(self, seconds: float) -> None:
        """One step is done and took so long."""
        self.recent = [*self.recent[-_RATE_STEPS + 1 :], (self.tokens[self.step], seconds)]
        self.step += 1
        self.seconds += seconds

    @property
    def tokens_per_second(self) -> float:
        """Useful (unpadded) tokens per second over the last steps."""
        return sum(tokens for tokens, _ in self.recent) / max(sum(seconds for _, seconds in self.recent), 1e-9)

    @property
    def seconds_left(self) -> float:
        return sum(self.tokens[self.step :]) / max(self.tokens_per_second, 1e-9)


def _planned(trainer_class: Any, batches: Sequence[list[int]], total_steps: int) -> Any:
    """The trainer class over batches that are settled, with a schedule over all steps of the run.

    The trainer itself sees one pass over the steps that are left.
    """

    class PlannedTrainer(trainer_class):
        def get_train_dataloader(self) -> Any:
            from torch.utils.data import DataLoader

            loader = DataLoader(self.train_dataset, batch_sampler=batches, collate_fn=self.data_collator)
            return self.accelerator.prepare(loader)

        def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
            return super().create_scheduler(total_steps, optimizer)

        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            return dataset  # rows arrive as token ids

    return PlannedTrainer


def train(
    method: str,
    *,
    model: Any,
    tokenizer: Any,
    options: dict[str, Any],
    rows: Sequence[Any],
    order: Sequence[list[int]],
    progress: Progress,
    run_folder: Path,
    control: ControlFile,
    resume: Checkpoint | None,
    probe: Probe | None = None,
) -> None:
    """Train to the end of `order`, from `resume` where it is given.

    Args:
        method: sft or dpo.
        options: arguments of TRL's trainer, by name.
        rows: TokenRow or PairRow, as `order` counts them.
        progress: kept up to date for the caller.
        probe: tells after the first steps what the rest will take, and may wait for a word.

    Raises:
        ToolFailed: a loss or gradient that is not finite, a stop that control.jsonl asked for, a full disk.
        KeyboardInterrupt: SIGTERM or SIGINT; the state is saved.
    """
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import DPOConfig, DPOTrainer, SFTConfig, SFTTrainer

    if resume is not None and progress.step == progress.total:
        restore_weights(resume, model)
        return
    trainer_class, config_class = (DPOTrainer, DPOConfig) if method == "dpo" else (SFTTrainer, SFTConfig)
    trainer = _planned(trainer_class, order[progress.step :], progress.total)(
        model=model,
        args=_config(config_class, run_folder, options),
        train_dataset=Dataset.from_list([row.columns() for row in rows]),
        processing_class=tokenizer,
    )
    for name, weight in trainer.model.named_parameters():
        if weight.requires_grad and "lora_" in name:
            weight.data = weight.data.float()  # TRL makes a QLoRA adapter bfloat16, which swallows small updates
    with _signals_wait() as signals:
        steps = StepKeeper(progress, run_folder, control, resume, signals, probe)

        class Hooks(TrainerCallback):
            def on_train_begin(self, *_: Any, **given: Any) -> None:
                steps.begin(given["model"], given["optimizer"], given["lr_scheduler"])

            def on_pre_optimizer_step(self, *_: Any, **given: Any) -> None:
                steps.check_gradients(given["model"])

            def on_log(self, *_: Any, logs: dict[str, Any], **given: Any) -> None:
                if "loss" in logs:  # all but the summary at the end
                    steps.end(logs, given["model"], given["optimizer"], given["lr_scheduler"])

        trainer.add_callback(Hooks())
        on_cpu = next(trainer.model.parameters()).device.type == "cpu"
        try:
            with attention_for((row.length for row in rows), cpu=on_cpu):
                trainer.train()
        except torch.OutOfMemoryError as error:
            raise ToolFailed(
                "the GPU has too little memory for a step; lower `batch_size` or `max_seq_length`, "
                "or load the base with `quant` 4bit"
            ) from error


def _config(config_class: Any, folder: Path, options: dict[str, Any]) -> Any:
    """SFTConfig or DPOConfig from the options that this version of TRL has."""
    known = {field.name for field in dataclasses.fields(config_class)}
    fixed = {
        "output_dir": str(folder / "checkpoints"),
        "num_train_epochs": 1,
        "gradient_accumulation_steps": 1,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "save_strategy": "no",
        "eval_strategy": "no",
        "report_to": "none",
        "disable_tqdm": True,
        "max_length": None,
        "dataset_kwargs": {"skip_prepare_dataset": True},
        "remove_unused_columns": False,
        "push_to_hub": False,
        "dataloader_pin_memory": False,
    }
    return config_class(**{name: value for name, value in {**fixed, **options}.items() if name in known})


@contextmanager
def _signals_wait() -> Iterator[list[int]]:
    """Collect SIGTERM and SIGINT instead of acting on them in the middle of a step."""
    received: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield received
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda signum, _: received.append(signum))
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class StepKeeper:
    """What happens around each step."""

    def __init__(
        self,
        progress: Progress,
        run_folder: Path,
        control: ControlFile,
        resume: Checkpoint | None,
        signals: list[int],
        probe: Probe | None = None,
    ) -> None:
        self._progress = progress
        self._folder = run_folder
        self._control = control
        self._resume = resume
        self._signals = signals
        self._probe = probe if resume is None and progress.total > PROBE_STEPS else None
        self._last_time = self._last_save = time.monotonic()
        self._saved_step = resume.step if resume else None
        self._first = resume is None

    def begin(self, model: Any, optimizer: Any, scheduler: Any) -> None:
        if self._resume is not None:
            restore(self._resume, model, optimizer, scheduler)
        self._last_time = self._last_save = time.monotonic()

    def check_gradients(self, model: Any) -> None:
        import torch

        total = sum(weight.grad.float().abs().sum() for weight in model.parameters() if weight.grad is not None)
        if not math.isfinite(float(torch.as_tensor(total))):
            self._not_finite("gradients")

    def _not_finite(self, what: str) -> None:
        kept = f"the checkpoint of step {self._saved_step} is kept" if self._saved_step else "no checkpoint was due yet"
        raise ToolFailed(
            f"the {what} stopped being finite in step {self._progress.step + 1} of {self._progress.total}; {kept}. "
            "Train again with a lower `learning_rate`, or with more `warmup_steps`"
        )

    def end(self, logs: dict[str, Any], model: Any, optimizer: Any, scheduler: Any) -> None:
        now = time.monotonic()
        seconds, self._last_time = now - self._last_time, now
        loss, norm = float(logs["loss"]), float(logs.get("grad_norm") or 0.0)
        if not math.isfinite(loss):
            self._not_finite("loss")
        if not math.isfinite(norm):
            self._not_finite("gradients")
        progress = self._progress
        progress.advance(seconds)
        self._record(loss, norm, float(logs["learning_rate"]), seconds)
        if progress.step % _STEPS_BETWEEN_RETURNS == 0:
            return_free_memory()
        if self._probe is not None and progress.step == PROBE_STEPS:
            self._tell_and_wait(self._probe)
        save = progress.step == progress.total
        stop = False
        for operation in self._control.due(progress.step):
            if isinstance(operation, SetValue):
                set_learning_rate(operation.value, optimizer, scheduler)
                note(f"learning rate set to {operation.value:g} after step {progress.step}, as control.jsonl asks")
            save = save or isinstance(operation, Save | Stop)
            stop = stop or isinstance(operation, Stop)
        interval = _FIRST_CHECKPOINT_SECONDS if self._first else _CHECKPOINT_SECONDS
        if save or self._signals or now - self._last_save + seconds > interval:
            self._save(model, optimizer, scheduler)
        if self._signals:
            raise KeyboardInterrupt
        if stop and progress.step < progress.total:
            raise ToolFailed(
                f"stopped after step {progress.step} of {progress.total}, {STOPPED}; the same call goes on from here"
            )

    def _tell_and_wait(self, probe: Probe) -> None:
        """Say what the rest will take; where that asks for a word, let nothing happen before it came."""
        asks = probe.tell([seconds for _, seconds in self._progress.recent])
        while asks and not self._signals and not self._control.has_word():
            time.sleep(_LOOK_SECONDS)
        self._last_time = self._last_save = time.monotonic()

    def _record(self, loss: float, norm: float, rate: float, seconds: float) -> None:
        progress = self._progress
        line = {
            "step": progress.step,
            "total": progress.total,
            "epoch": round(progress.step / progress.steps_per_epoch, 4),
            "loss": loss,
            "learning_rate": rate,
            "grad_norm": norm,
            "tokens": progress.tokens[progress.step - 1],
            "seconds": round(seconds, 4),
        }
        with (self._folder / METRICS).open("a", encoding="utf-8") as stream:
            stream.write(json.dumps(line) + "\n")
        emit(
            "step",
            done=progress.step,
            total=progress.total,
            unit="step",
            loss=round(loss, 4),
            tokens_per_second=round(progress.tokens_per_second, 1),
            seconds_left=round(progress.seconds_left, 1),
            learning_rate=rate,
        )

    def _save(self, model: Any, optimizer: Any, scheduler: Any) -> None:
        progress = self._progress
        extra = {"seconds": progress.seconds}
        try:
            write_checkpoint(self._folder / "checkpoints", capture(progress.step, model, optimizer, scheduler, extra))
        except OSError as error:
            kept = f"the one of step {self._saved_step} is kept" if self._saved_step else "there is none yet"
            raise ToolFailed(f"can't write the checkpoint of step {progress.step}: {error}; {kept}") from error
        self._first = False
        self._saved_step = progress.step
        # The time that saving takes is not training time.
        self._last_time = self._last_save = time.monotonic()


def read_metrics(run_folder: Path, upto_step: int | None = None) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl; with `upto_step`, later ones are removed from the file first."""
    path = run_folder / METRICS
    lines: list[dict[str, Any]] = []
    if path.is_file():
        for text in path.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except ValueError:
                break  # cut off by a crash
    if upto_step is not None:
        lines = [line for line in lines if line["step"] <= upto_step]
        path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return lines
