"""The peer of training_speed.py: plain TRL and PEFT, in an environment of their own. See there.

Reads {"model", "rows", "adapter", "batch_size", "max_length", "rank"} from stdin; `rows` is a JSONL file of
{"prompt", "completion"} messages. Writes {"steps": [{"tokens", "seconds"}], ...} to stdout.
"""

import json
import os
import resource
import sys
import time
from itertools import pairwise
from pathlib import Path

request = json.load(sys.stdin)
answer = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)

import datasets  # noqa: E402
import peft  # noqa: E402
import torch  # noqa: E402
import transformers  # noqa: E402
import trl  # noqa: E402

config = trl.SFTConfig(
    output_dir=request["adapter"] + ".work",
    use_cpu=True,
    per_device_train_batch_size=request["batch_size"],
    max_length=request["max_length"],
    num_train_epochs=1,
    report_to="none",
    disable_tqdm=True,
)
with Path(request["rows"]).open(encoding="utf-8") as stream:
    rows = datasets.Dataset.from_list([json.loads(line) for line in stream])
trainer = trl.SFTTrainer(
    model=request["model"],
    args=config,
    train_dataset=rows,
    peft_config=peft.LoraConfig(
        r=request["rank"], lora_alpha=request["rank"], target_modules="all-linear", task_type="CAUSAL_LM"
    ),
)
tokens: list[int] = []
times: list[float] = []
collate = trainer.data_collator


def counting(examples):
    batch = collate(examples)
    tokens.append(int(batch["attention_mask"].sum()))
    return batch


class Clock(transformers.TrainerCallback):
    def on_step_begin(self, *_, **__):
        if not times:
            times.append(time.monotonic())

    def on_step_end(self, *_, **__):
        times.append(time.monotonic())
        print(f"peer step {len(times) - 1}", file=sys.stderr, flush=True)


trainer.data_collator = counting
trainer.add_callback(Clock())
trainer.train()
trainer.model.save_pretrained(request["adapter"], save_embedding_layers=False)
seconds = [after - before for before, after in pairwise(times)]
json.dump(
    {
        "steps": [{"tokens": t, "seconds": s} for t, s in zip(tokens, seconds, strict=False)],
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "settings": {
            name: getattr(config, name)
            for name in ("learning_rate", "weight_decay", "warmup_steps", "gradient_checkpointing", "bf16")
        },
        "versions": {module.__name__: module.__version__ for module in (torch, transformers, trl, peft)},
    },
    answer,
)
answer.close()
