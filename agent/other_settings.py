"""Settings that people know from other trainers and that no tool here has."""

from .words import Token, word_set

__all__ = ["other_settings"]

_SETTINGS = word_set(
    "scheduler dropout accumulation optimizer optimiser optim neftune deepspeed fsdp smoothing packing clipping"
)
_WHOLE = word_set("warmup_ratio max_grad_norm early_stopping logging_steps save_steps eval_steps")


def other_settings(tokens: list[Token]) -> tuple[list[Token], list[str]]:
    """The tokens without the values of such settings, so that nothing else takes them, and the settings' names.

    >>> from .words import tokenize
    >>> rest, names = other_settings(tokenize("optim='adamw_8bit', lora_dropout 0.1 and a cosine scheduler"))
    >>> names, [token.text for token in rest]
    (['optim', 'lora_dropout', 'scheduler'], ['optim', ',', 'lora_dropout', 'and', 'a', 'cosine', 'scheduler'])
    """
    kept: list[Token] = []
    names: list[str] = []
    position = 0
    while position < len(tokens):
        token = tokens[position]
        kept.append(token)
        position += 1
        if token.kind != "word" or not ({*token.text.split("_")} & _SETTINGS or token.text in _WHOLE):
            continue
        names.append(token.text)
        value = position + (position < len(tokens) and tokens[position].text in ("=", ":", "of", "to"))
        assigned = value > position
        if value < len(tokens) and (
            tokens[value].kind == "number" or (assigned and tokens[value].kind in ("name", "word"))
        ):
            position = value + 1
    return kept, names
