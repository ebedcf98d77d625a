"""Models of random weights, small enough for a test and true to their family's shape and tokenizer."""

import json
import sys
from pathlib import Path

__all__ = ["make_tiny_gemma"]

# The format of Gemma's turns, in our own words: no system role, the assistant is called model.
_GEMMA_TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] not in ('user', 'assistant') %}{{ raise_exception('unknown role') }}{% endif %}"
    "{{ '<start_of_turn>' + ('model' if message['role'] == 'assistant' else 'user') + '\n' }}"
    "{{ message['content'] | trim }}{{ '<end_of_turn>\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<start_of_turn>model\n' }}{% endif %}"
)


def make_tiny_gemma(folder: Path, *, hidden: int = 64, inner: int = 128, vocab: int = 600) -> Path:
    """Write a Gemma 3 of random weights with a sentencepiece vocabulary trained here; returns the folder.

    Two layers, 4 heads and 1 key-value head of size 16, sliding window 512 in the first layer, tied embeddings.
    """
    import sentencepiece
    import torch
    import transformers

    folder.mkdir(parents=True, exist_ok=True)
    names = ["fox", "dog", "wizard", "jar", "river", "lamp", "garden", "winter", "engine", "letter", "quince"]
    lines = [
        f"The {names[n % 11]} and the {names[(3 * n + 1) % 11]} were near a {names[(7 * n + 2) % 11]}."
        for n in range(400)
    ]
    lines += [f"{number} plus {number} is {2 * number}." for number in range(200)]
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines),
        model_prefix=str(folder / "tokenizer"),
        vocab_size=vocab,
        hard_vocab_limit=False,
        model_type="bpe",
        byte_fallback=True,
        add_dummy_prefix=False,
        remove_extra_whitespaces=False,
        normalization_rule_name="identity",
        split_digits=True,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        user_defined_symbols=["<mask>", "<start_of_turn>", "<end_of_turn>"],
        minloglevel=2,
    )
    (folder / "tokenizer.vocab").unlink()
    tokenizer = transformers.GemmaTokenizer.from_pretrained(str(folder))
    tokenizer.chat_template = _GEMMA_TEMPLATE
    tokenizer.save_pretrained(folder)
    size = len(tokenizer)
    config = transformers.Gemma3TextConfig(
        vocab_size=size,
        hidden_size=hidden,
        intermediate_size=inner,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=16,
        query_pre_attn_scalar=16,  # as in Gemma, where it is the head's size: llama.cpp scales by that
        sliding_window=512,
        layer_types=["sliding_attention", "full_attention"],
        max_position_embeddings=2048,
        pad_token_id=0,
        eos_token_id=1,
        bos_token_id=2,
    )
    torch.manual_seed(0)
    model = transformers.Gemma3ForCausalLM(config).to(torch.bfloat16)
    model.save_pretrained(folder)
    generation = {"bos_token_id": 2, "eos_token_id": [1, tokenizer.convert_tokens_to_ids("<end_of_turn>")]}
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


if __name__ == "__main__":
    make_tiny_gemma(Path(sys.argv[1]))
