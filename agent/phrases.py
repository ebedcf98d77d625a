"""The words by which people name tools, parameters, choices and evaluation sets: tables and nothing else.

Each text is a list of phrases, separated by commas. All are lower case; hyphens, underscores and spaces are one.
"""

from typing import Any

from .words import word_set

__all__ = [
    "CHOICES",
    "EVAL_SETS",
    "FILLERS",
    "LABELS",
    "NAMED",
    "NOT_MISSPELLED",
    "NOUNS",
    "ORDINARY",
    "SPELLED",
    "UNITS",
    "VERBS",
]

# Verbs order work by themselves; nouns name its result and may only refer to it.
VERBS = {
    "prepare_dataset": (
        "prepare, prep, preprocess, pre process, download, load down, pull, grab, fetch, ingest, "
        "get ready, into shape, tokenize, tidy up, clean up, preparation of, do the data preparation, "
        "make a training set, make training data, make training rows, into a training set, into training data, "
        "into training rows, into training set"
    ),
    "finetune_unsloth": (
        "train, retrain, re train, fine tune, finetune, finetuning, fine tuning, fine tuned, finetuned, tune, "
        "tuned, trained, training, tuning, teach, feed, adapt, specialise, specialize, qlora, lora finetune, "
        "lora fine tune, instruction tune, full finetune, full fine tune, full fine tuning, full finetuning, "
        "dpo tune, dpo train"
    ),
    "export": "export, exporting, exported, convert, converted, converting, conversion, export step",
    "export_gguf": "quantise, quantize, quantised, quantized, quantising, quantizing, quantisation, quantization",
    "export_safetensors": "merge, merge adapter, merge the adapter, merge the lora",
    "run_eval": (
        "evaluate, eval, evals, evaluating, evaluation, evaluations, evaluated, benchmark, benchmarks, bench, "
        "benchmarking, benchmarked, score, scores, scored, test, tested, testing, measure, measured, assess, "
        "check the quality, check the quality of, how good, how well, how does it do, how does it perform, how is it, "
        "how it does, "
        "how it performs, how it scores, how well it does, how does it score, compare, compared, "
        "better than the base, better than base, perplexity, accuracy, quality check"
    ),
}

NOUNS = {
    "finetune_unsloth": "lora, dpo, sft, training run, fine tune run, finetune run",
    "export_gguf": "gguf, ggufs, gguf file, gguf files, ollama, llama.cpp, llamacpp, lm studio",
    "export_safetensors": (
        "safetensors, safetensor, merged model, merged folder, merged checkpoint, merged weights, merged, "
        "hf format, hf folder, hf model folder, hugging face model folder, huggingface model folder, huggingface "
        "format, hugging face format, huggingface folder"
    ),
}

# Phrases that hold a tool's word and order nothing.
FILLERS = (
    "half precision, for training, for a training, for a training run, for later training, for a later "
    "training, for the "
    "training, train later, "
    "train on it later, train with it later, to train on, training later, for a fine tune, for fine tuning, for "
    "finetuning, for tuning, training data, training file, training rows, "
    "training examples, training set, trained model, the training, tuned model, fine tuned model, "
    "finetuned model, trained one, tuned one, trained version, fine tuned version, tuned version, "
    "fine tuned one, finetuned one, finetuned version, exported model, exported file, exported gguf, "
    "the export folder, quantized model, quantised model, test data, instruction tuned, instruct tuned, "
    "of training, fine tuning data, finetuning data, before training, after training, while training, "
    "during training, once trained, the trained, already trained, just trained, we trained, you trained, "
    "out of, against its base, against the base, against the base model, against its base model, its base, "
    "its base model, than the base, than the base model, versus the base, "
    "smoke test, quantised loading, quantized loading, test run, trial run, "
    "i trained, was trained, been trained, is ready, are ready, already ready, "
    "data quality, good quality"
)

# Numbers: a unit follows its number ("2 epochs"), a label precedes it ("rank 8"). Where several tools have a
# parameter of that name, `|` separates them, the likelier first.
UNITS = {
    "finetune_unsloth.epochs": (
        "epochs, epoch, epoches, passes, pass, training epochs, training epoch, times over the data, "
        "times through the data, times through, times over, passes over the data, passes over it, passes through the "
        "data, train epochs, "
        "ep, rounds"
    ),
    "finetune_unsloth.max_steps": (
        "steps, training steps, optimizer steps, optimiser steps, train steps, step, updates, gradient steps"
    ),
    "finetune_unsloth.warmup_steps": (
        "steps of warmup, step warmup, step warm up, warmup step, steps warmup, "
        "warming steps, steps of warm up, steps for warmup, steps warm up"
    ),
    "finetune_unsloth.max_seq_length": (
        "tokens, token context, token window, token sequences, token limit, tokens of context, tokens context, "
        "tokens per row, tokens long, token, token context window"
    ),
    "prepare_dataset.limit|run_eval.limit": (
        "rows, row, examples, samples, records, entries, lines, conversations, documents, datapoints, "
        "data points, instances"
    ),
    "run_eval.limit|prepare_dataset.limit": "items, questions, problems, item, question",
}

LABELS = {
    "finetune_unsloth.epochs": "number of epochs, epoch count, num epochs, num train epochs",
    "finetune_unsloth.learning_rate": (
        "learning rate, lr, learnrate, learning rates, lrs, step size, peak learning rate, peak lr"
    ),
    "finetune_unsloth.lora_r": (
        "rank, r, lora rank, lora r, ranks, lora ranks, rank of lora, adapter rank, lora dimension, lora dim"
    ),
    "finetune_unsloth.lora_alpha": "alpha, lora alpha, lora scale, scaling alpha",
    "finetune_unsloth.batch_size": (
        "batch size, batch sizes, bs, batch, batches, batchsize, batches of, minibatches of, minibatches, "
        "minibatch, mini batch, "
        "micro batch, micro batch size, train batch size, minibatch size, per device batch size, device batch size, "
        "per device train batch size, "
        "rows per step, rows per batch, "
        "examples per step, examples per batch, samples per batch"
    ),
    "finetune_unsloth.max_seq_length": (
        "context length, context window, context size, context, ctx, ctx length, sequence length, seq length, "
        "seq len, seqlen, sequence len, max seq length, max sequence length, max seq len, max length, max len, "
        "maximum length, maximum sequence length, maximum context, maximum context length, max context, "
        "max context length, cutoff length, cutoff, sequence lengths, sequences, sequences of, max tokens, "
        "maximum tokens, cutting rows at, cut rows at, truncate rows at, truncating rows at, "
        "truncate at, truncate to, truncated to, truncated at, cut off at"
    ),
    "finetune_unsloth.max_steps": "max steps, maximum steps, step limit, maximum number of steps, number of steps",
    "finetune_unsloth.warmup_steps": "warmup steps, warm up steps, warmup, warm up, warming up, warm up for",
    "finetune_unsloth.weight_decay": "weight decay, wd, decay, l2, regularisation, regularization",
    "finetune_unsloth.seed|prepare_dataset.seed": "seed, random seed, rng seed, seeds",
    "prepare_dataset.limit|run_eval.limit": (
        "limit, row limit, max rows, maximum rows, number of rows, max examples, max samples, sample size"
    ),
    "run_eval.limit|prepare_dataset.limit": "max items, question limit, item limit, eval limit",
    "prepare_dataset.heldout_fraction": (
        "hold out, hold back, holdout, holding out, held out fraction, heldout fraction, holdout fraction, "
        "hold out fraction, heldout share, held out share, set aside, keep aside, keep back, put aside, "
        "test fraction, validation fraction, eval fraction, reserve, holdout size, test size, held out size, "
        "heldout size"
    ),
}

# Parameters after which a name, a model or a word follows.
NAMED = {
    "prepare_dataset.source": (
        "source, dataset, data set, data, corpus, data source, training data, input data, data file, "
        "training file, train file, dataset name"
    ),
    "finetune_unsloth.base_model": (
        "base model, base, model, model name, starting model, pretrained model, foundation model"
    ),
    "finetune_unsloth.dataset": (
        "prepared dataset, prepared folder, prepared data, already prepared folder, already prepared dataset, "
        "already prepared data, already prepared"
    ),
    "export_gguf.checkpoint_dir": "checkpoint, checkpoint dir, checkpoint folder, run folder, adapter, run",
    "export_gguf.output_file": "output file, out file, outfile, file name, filename, gguf name",
    "run_eval.gguf_file": "gguf file, model file",
    "run_eval.eval_set": (
        "eval set, evaluation set, eval task, task, tasks, eval dataset, evaluation dataset, eval data, "
        "benchmark set, evaluation task, test set, test file, eval file, validation set"
    ),
    "run_eval.data_dir": "local copy, local copy in, local copies, local copies in, task data, offline data",
    "prepare_dataset.tokenizer": "tokenizer, tokeniser, tokenizer of, tokens with, tokenizer from",
    "output_dir": (
        "output dir, output folder, output directory, out dir, output, outdir, output path, save dir, "
        "save path, out, destination"
    ),
    "prepare_dataset.split": "split",
    "finetune_unsloth.quant": (
        "quant, load precision, loading precision, base precision, load in, loaded in, loading in, loaded at, "
        "load at, precision"
    ),
    "export_gguf.quantization": (
        "quantization, quantisation, quantizations, quantisations, quants, quantization type, quant type, "
        "gguf type, file type, export type, output type, outtype"
    ),
    "finetune_unsloth.method": "method, training method",
    "finetune_unsloth.target_modules": "target modules, lora targets, targets, modules, target",
    "prepare_dataset.on_bad_rows": "on bad rows",
    "prepare_dataset.streaming": "streaming mode",
    "prepare_dataset.allow_private_hosts": "allow private hosts",
}

# Words that are values.
CHOICES: dict[tuple[str, Any], str] = {
    ("finetune_unsloth.method", "dpo"): (
        "dpo, dpo tune, dpo train, dpo training, dpo tuning, preference tuning, preference optimization, "
        "preference optimisation, direct preference optimization, direct preference optimisation, "
        "preference training, preference tune"
    ),
    ("finetune_unsloth.method", "sft"): "sft, supervised, supervised fine tuning, supervised finetuning",
    ("finetune_unsloth.quant", "4bit"): "qlora, load in 4bit",
    ("finetune_unsloth.quant", "8bit"): "load in 8bit",
    # "lora" by itself is a way to train
    ("export_gguf.quantization", "lora"): (
        "gguf adapter, gguf lora adapter, lora gguf adapter, as gguf lora, as a gguf lora, as lora gguf, "
        "as a lora gguf, quantization lora, quantisation lora"
    ),
    ("finetune_unsloth.lora_r", 0): (
        "full finetune, full fine tune, full fine tuning, full finetuning, full parameter, full weights, "
        "all weights, every weight, full training, full tuning, all parameters, full weight, all the weights, "
        "all of the weights, every single weight, not just an adapter, not "
        "only an adapter"
    ),
    ("prepare_dataset.streaming", True): (
        "stream, streaming, streamed, stream it, without downloading, rather than downloading, "
        "instead of downloading, without downloading it, rather than downloading it, "
        "instead of downloading it, without downloading it all, row by row"
    ),
    ("prepare_dataset.allow_private_hosts", True): (
        "allow private hosts, allow private addresses, allow private host, allow localhost, allow loopback, "
        "private hosts allowed, allow local addresses"
    ),
    ("run_eval.chat_template", True): (
        "with the chat template, with its chat template, with chat template, in the chat template, "
        "own chat template, built in chat template, in its chat template, using the chat template, using its "
        "chat template, apply the chat template, apply "
        "chat template, "
        "applying the chat template"
    ),
    ("export_gguf.check_fidelity", False): (
        "without the fidelity check, without fidelity check, no fidelity check, skip the fidelity check, "
        "skip fidelity check, without checking fidelity, leave out the fidelity check, leave out fidelity check, "
        "omit the fidelity check"
    ),
    ("export_gguf.imatrix", True): (
        "imatrix, i matrix, imatrix quant, imatrix quants, imatrix quantization, imatrix quantisation, "
        "importance matrix, importance matrices, importance weights, importance weighting, importance weighted, "
        "importance aware, importance matrix quantization, importance matrix quantisation"
    ),
    ("finetune_unsloth.target_modules", ("q_proj", "k_proj", "v_proj", "o_proj")): (
        "attention only, attention layers, attention modules, attention layers only, only attention, "
        "only the attention layers, attention projections"
    ),
    ("finetune_unsloth.target_modules", ("gate_proj", "up_proj", "down_proj")): (
        "mlp only, mlp layers, mlp modules, only mlp, mlp layers only, feed forward layers, only the mlp layers"
    ),
}

# Evaluation sets by their lm-eval names.
EVAL_SETS = {
    "heldout": (
        "heldout, held out, held out part, held out set, held out data, held out rows, heldout data, "
        "heldout set, heldout rows, holdout set, heldout part, hold out set, held out split, heldout split, "
        "holdout data, held out examples, holdout rows, unseen rows, held out portion, hold out rows, "
        "hold out data"
    ),
    "arc_challenge": "arc challenge, arc c, arc challenge set, arcchallenge, arcc",
    "arc_easy": "arc easy, arc e, arceasy, easy arc",
    "hellaswag": "hellaswag, hella swag",
    "winogrande": "winogrande, wino grande",
    "mmlu": "mmlu",
    "mmlu_pro": "mmlu pro",
    "gsm8k": "gsm8k, gsm 8k, gsm",
    "truthfulqa_mc2": "truthfulqa, truthful qa, truthfulqa mc2, truthful qa mc2, tqa",
    "truthfulqa_mc1": "truthfulqa mc1, truthful qa mc1",
    "piqa": "piqa",
    "boolq": "boolq, bool q",
    "openbookqa": "openbookqa, open book qa, openbook qa, obqa",
    "commonsense_qa": "commonsense qa, commonsenseqa, csqa",
    "lambada_openai": "lambada, lambada openai",
    "social_iqa": "social iqa, siqa, socialiqa",
    "triviaqa": "triviaqa, trivia qa",
    "nq_open": "nq open, natural questions",
    "sciq": "sciq",
    "copa": "copa",
    "mathqa": "mathqa, math qa",
    "humaneval": "humaneval, human eval",
    "mbpp": "mbpp",
    "ifeval": "ifeval, if eval",
    "bbh": "bbh, big bench hard",
    "gpqa": "gpqa",
    "wikitext": "wikitext",
    "race": "race benchmark",
    "xnli": "xnli",
    "mgsm": "mgsm",
}

# Words that are no names of anything.
ORDINARY = word_set(
    "never high low most least sooner gets got getting goes see saw reach reaches lets a an the my our your "
    "this that these those it its them they "
    "all any some no not and or but then so for of "
    "on in to into with using use from by at as is are be was i we you me us please pls can could would should "
    "will want need like make give get do does done let just only also too now again same instead rather than "
    "more less fewer other another both each every first last next new old one what which how why when where "
    "who there here up down out off over under after before until without except skip leave keep set change "
    "switch adjust raise lower increase decrease reduce bump cut halve double triple twice half third quarter "
    "times factor percent bit bits max maximum min minimum number size length window file files folder folders "
    "dataset datasets data corpus model models version versions thing things stuff row rows bad broken good "
    "best quick look full small tiny big large fast run runs go start try take save store write put call name "
    "named called afterwards afterward later finally once thanks thank ok okay hi hello hey yes well maybe "
    "around about roughly exactly well anything something everything nothing part rest set sets questions "
    "instructions instruction cpu gpu laptop machine night today tomorrow job work examples task tasks results "
    "yesterday recently week month ago result output held hold fine base learning rate rank alpha batch seed epochs "
    "epoch steps decay weight warm sequence context adapter host"
)

# Spelling is forgiven in these words alone; values are never guessed.
SPELLED = (
    "train training finetune finetuning export convert quantize quantise evaluate evaluation benchmark prepare "
    "download  epochs epoch learning safetensors sequence context length"
)
NOT_MISSPELLED = word_set(
    "expert experts report import trail trait traits brain drain grain strain rain texts content contents "
    "contest concert covert explore compare leaning yearning validate escalate prefer prepaid tarnish"
)
