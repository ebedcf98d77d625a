"""What all tests share: no network, small models, a working folder of their own."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_LOOPBACK = {"127.0.0.1", "::1", "localhost", "0.0.0.0"}

# No test, and no process that a test starts, asks a hub or sends a report.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
os.environ.setdefault("HF_DATASETS_DISABLE_PROGRESS_BARS", "1")
os.environ.setdefault("HF_ENDPOINT", "http://127.0.0.1:9")  # nobody listens there; hub tests set their own
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
# Requests are read by the rules alone, whatever adapter this machine has; tests about the model say so themselves.
os.environ["TUNESMITH_PLANNER"] = "rules"
os.environ.setdefault("CREWAI_STORAGE_DIR", "tunesmith-tests")
# Threads that wait sleep after a moment, as in the tools' own processes: the cores belong to those.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")


@pytest.fixture
def notes() -> Iterator[list[str]]:
    """What the tools of this process tell people, as they tell it."""
    from tunesmith.tools.base import on_event

    heard: list[str] = []
    on_event(lambda event: heard.append(event["text"]) if event["event"] == "note" else None)
    yield heard
    on_event(None)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """A forgotten network call fails at once and says where it wanted to go."""
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: object) -> None:
        if isinstance(address, tuple) and str(address[0]) not in _LOOPBACK:
            raise AssertionError(f"a test reached for the network: {address}")
        return connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)


@pytest.fixture(autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is kept of this user's runs and requests, of this test alone: its speeds tell nothing of this machine's."""
    folder = tmp_path_factory.mktemp("state")
    monkeypatch.setenv("XDG_STATE_HOME", str(folder))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    return folder / "tunesmith"


@pytest.fixture
def workdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder that is the current one."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="session")
def base_dir() -> Path:
    """SmolLM2-135M-Instruct from the installed wheel, de-quantised once into the user's cache."""
    from tunesmith.tools.base_models import fetch_base_model

    return fetch_base_model("smollm2-135m")


@pytest.fixture(scope="session")
def tiny_llama(base_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama of random weights, two layers, hidden size 64, with SmolLM2's tokenizer: 12 MB of float32."""
    import numpy
    from safetensors.numpy import save_file

    folder = tmp_path_factory.mktemp("tiny-llama")
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "special_tokens_map.json"):
        if (base_dir / name).exists():
            (folder / name).write_bytes((base_dir / name).read_bytes())
    config = json.loads((base_dir / "config.json").read_text())
    hidden, inner, heads, kv_heads, layers, vocab = 64, 128, 4, 2, 2, int(config["vocab_size"])
    config.update(
        hidden_size=hidden,
        intermediate_size=inner,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        num_hidden_layers=layers,
        head_dim=hidden // heads,
    )
    (folder / "config.json").write_text(json.dumps(config, indent=2))
    random = numpy.random.default_rng(0)

    def matrix(rows: int, columns: int) -> "numpy.ndarray":
        return (random.standard_normal((rows, columns)) * 0.05).astype(numpy.float16)

    tensors = {"model.embed_tokens.weight": matrix(vocab, hidden), "model.norm.weight": numpy.ones(hidden, "float16")}
    kv = hidden // heads * kv_heads
    shapes = {
        "self_attn.q_proj": (hidden, hidden),
        "self_attn.k_proj": (kv, hidden),
        "self_attn.v_proj": (kv, hidden),
        "self_attn.o_proj": (hidden, hidden),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (hidden, inner),
    }
    for layer in range(layers):
        for name, shape in shapes.items():
            tensors[f"model.layers.{layer}.{name}.weight"] = matrix(*shape)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"model.layers.{layer}.{name}.weight"] = numpy.ones(hidden, "float16")
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def tiny_gemma(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Gemma 3 of random weights, two layers, hidden size 64, with a sentencepiece vocabulary of its own."""
    folder = tmp_path_factory.mktemp("tiny-gemma")
    # In a process of its own: transformers is heavy, and its dependencies warn in ways that tests do not allow.
    script = Path(__file__).with_name("tiny_models.py")
    subprocess.run([sys.executable, str(script), str(folder)], capture_output=True, text=True, check=True)
    return folder
