import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hub import Hub
from tunesmith.tools.base import BadRequest
from tunesmith.tools.base_models import fetch_base_model, fetch_tokenizer, local_model, model_sha256, public_name


def copy_of(model: Path, folder: Path) -> Path:
    shutil.copytree(model, folder)
    return folder


def change_config(folder: Path, **values: object) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def test_an_unknown_name_is_refused_with_the_nearest_known_one() -> None:
    with pytest.raises(BadRequest, match="did you mean `gemma3-270m`"):
        fetch_base_model("gemma3-27m")


def test_a_folder_that_does_not_exist_a_file_and_an_empty_folder_are_refused(workdir: Path) -> None:
    (workdir / "models").mkdir()
    (workdir / "models/file.txt").write_text("x")
    (workdir / "models/empty").mkdir()
    for name, reason in {
        "./nowhere": "does not exist",
        "models/file.txt": "is a file",
        "models/empty": "holds no config.json",
    }.items():
        with pytest.raises(BadRequest, match=reason):
            fetch_base_model(name)


def test_weights_as_pickles_are_refused(tiny_llama: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_llama, tmp_path / "model")
    (model / "model.safetensors").rename(model / "pytorch_model.bin")
    with pytest.raises(BadRequest, match=r"pickles only .`pytorch_model.bin`."):
        fetch_base_model(str(model))


def test_custom_code_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_llama, tmp_path / "model")
    change_config(model, auto_map={"AutoModelForCausalLM": "modeling_evil.Evil"})
    with pytest.raises(BadRequest, match="needs custom code"):
        fetch_base_model(str(model))


def test_a_config_that_is_not_json_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_llama, tmp_path / "model")
    (model / "config.json").write_text("{")
    with pytest.raises(BadRequest, match="is not JSON"):
        fetch_base_model(str(model))


def test_an_adapter_is_not_taken_for_a_model(tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(BadRequest, match="holds an adapter"):
        fetch_base_model(str(tmp_path))


def test_a_hub_that_can_not_be_reached_is_named_with_a_way_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = (
        "from tunesmith.tools.base import BadRequest\nfrom tunesmith.tools.base_models import fetch_base_model\n"
        "try: fetch_base_model('gemma3-270m')\nexcept BadRequest as error: print(error)"
    )
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    answer = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True).stdout
    assert "http://127.0.0.1:9 can't be reached" in answer
    assert "use `smollm2-135m`, which needs none" in answer


def ask_hub(hub: Hub, home: Path, *calls: str) -> list[str]:
    """What `fetch_base_model(...)` and the like answer in a process whose hub is `hub`, a line for each."""
    code = (
        "from tunesmith.tools.base import BadRequest\n"
        "from tunesmith.tools.base_models import fetch_base_model, fetch_tokenizer\n"
    )
    for call in calls:
        code += f"try: print(sorted(path.name for path in {call}.iterdir()))\nexcept BadRequest as e: print(e)\n"
    process = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env={**os.environ, **hub.environment(home)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert process.returncode == 0, process.stderr
    return process.stdout.splitlines()


def test_a_hub_model_comes_without_code_pickles_and_other_layouts(tiny_llama: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_llama, tmp_path / "model")
    (model / "modeling_evil.py").write_text("raise SystemExit")
    (model / "training_args.bin").write_bytes(b"pickle")
    pickled = copy_of(tiny_llama, tmp_path / "pickled")
    (pickled / "model.safetensors").rename(pickled / "pytorch_model.bin")
    coded = copy_of(tiny_llama, tmp_path / "coded")
    change_config(coded, auto_map={"AutoConfig": "configuration_evil.Config"})
    repositories = {"models/ada/model": model, "models/ada/pickled": pickled, "models/ada/coded": coded}
    with Hub(repositories) as hub:
        answers = ask_hub(
            hub,
            tmp_path / "home",
            "fetch_tokenizer('ada/model')",
            "fetch_base_model('ada/model')",
            "fetch_base_model('ada/pickled')",
            "fetch_base_model('ada/coded')",
            "fetch_base_model('ada/nothing')",
        )
    names = {"chat_template.jinja", "config.json", "tokenizer.json", "tokenizer_config.json"}
    assert answers[0] == str(sorted(names))
    assert answers[1] == str(sorted(names | {"model.safetensors"}))
    assert "pickles only" in answers[2]
    assert "custom code" in answers[3]
    assert "the hub has no model `ada/nothing`" in answers[4]
    offline = ask_hub(hub, tmp_path / "home", "fetch_base_model('ada/model')", "fetch_base_model('ada/other')")
    assert offline[0] == answers[1], "an earlier download serves when the hub is gone"
    assert "can't be reached" in offline[1]


def test_a_local_model_is_used_where_it_lies(tiny_llama: Path) -> None:
    assert fetch_base_model(str(tiny_llama)) == tiny_llama
    assert fetch_tokenizer(str(tiny_llama)) == tiny_llama
    assert local_model("smollm2-135m") is None
    assert public_name(str(tiny_llama)) == tiny_llama.name


def test_a_models_hash_follows_its_weights(tiny_llama: Path, tmp_path: Path) -> None:
    model = copy_of(tiny_llama, tmp_path / "model")
    before = model_sha256(model)
    assert before == model_sha256(tiny_llama)
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    assert model_sha256(model) != before


def test_the_bundled_model_has_the_shape_and_tokens_of_smollm2(base_dir: Path) -> None:
    config = json.loads((base_dir / "config.json").read_text())
    expected = {
        "bos_token_id": 1,
        "eos_token_id": 2,
        "hidden_size": 576,
        "max_position_embeddings": 8192,
        "model_type": "llama",
        "num_attention_heads": 9,
        "num_hidden_layers": 30,
        "num_key_value_heads": 3,
        "pad_token_id": 2,
        "rms_norm_eps": 1e-05,
        "rope_theta": 100000.0,
        "tie_word_embeddings": True,
        "vocab_size": 49152,
    }
    assert {name: config[name] for name in expected} == expected


def test_the_bundled_models_tokenizer_splits_digits_and_knows_its_special_tokens(base_dir: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base_dir)
    ids = tokenizer("<|im_start|>user\nIn 2024 Straße, 你好<|im_end|>")["input_ids"]
    assert tokenizer.decode(ids) == "<|im_start|>user\nIn 2024 Straße, 你好<|im_end|>"
    assert [tokenizer.decode([token]) for token in tokenizer("2024")["input_ids"]] == ["2", "0", "2", "4"]
    assert (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token) == (
        "<|im_start|>",
        "<|im_end|>",
        "<|im_end|>",
    )


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # what transformers warns of while it reads a GGUF is not ours
def test_the_bundled_model_computes_what_transformers_makes_of_the_same_file(base_dir: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from tunesmith.tools.bundled_model import bundled_gguf

    gguf = bundled_gguf()
    theirs = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    ours = AutoModelForCausalLM.from_pretrained(base_dir, dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(base_dir)
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is the capital of France?"}],
        add_generation_prompt=True,
        return_tensors="pt",
        return_dict=True,
    )
    with torch.inference_mode():
        difference = (ours(**prompt).logits - theirs(**prompt).logits).abs().max()
        answer = ours.generate(**prompt, max_new_tokens=12, do_sample=False)[0, prompt["input_ids"].shape[1] :]
    assert float(difference) < 0.05, "float16 holds a q4_1 weight to 11 bits"
    assert tokenizer.decode(answer, skip_special_tokens=True) == "The capital of France is Paris."


def test_two_processes_that_need_the_bundled_model_at_once_make_it_once(tmp_path: Path) -> None:
    code = "from tunesmith.tools.base_models import fetch_base_model\nprint(fetch_base_model('smollm2-135m'))"
    processes = [
        subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            env={**os.environ, "TUNESMITH_CACHE": str(tmp_path)},
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    answers = {process.communicate()[0].strip() for process in processes}
    assert answers == {str(tmp_path / "models/smollm2-135m")}
    assert sorted(path.name for path in (tmp_path / "models").iterdir()) == [".smollm2-135m.lock", "smollm2-135m"]
