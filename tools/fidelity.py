"""The fidelity chain: proof, link by link, that an exported file is the model that was trained.

base -> adapter -> merged -> f16 GGUF -> quantised GGUF. Neighbours are compared by their next-token distributions on
fixed texts and held-out rows, so that a fault shows at the link that made it. What cannot be compared is said.
"""

import gc
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from .artifacts import file_sha256
from .base import BadRequest, MissingExtra, ToolFailed
from .catalogue import UNQUANTISED
from .fidelity_limits import file_limit, judge_change, judge_same, merge_limit
from .fidelity_report import Fidelity, Link, PromptCheck
from .prompt_check import check_prompts

if TYPE_CHECKING:
    import numpy as np

    from .model_source import ModelSource
    from .next_tokens import Divergence

__all__ = ["FidelityChain", "fidelity_chain"]


@contextmanager
def fidelity_chain(source: "ModelSource", folder: Path | None = None) -> "Iterator[FidelityChain]":
    """A chain for one checkpoint, for several files of it; its scratch space in `folder` goes at the end."""
    with TemporaryDirectory(prefix=".verify-", suffix=".partial", dir=folder) as scratch:
        yield FidelityChain(source, Path(scratch))


class FidelityChain:
    """The forms of one checkpoint. Those that transformers computes are computed once, for all files."""

    def __init__(self, source: "ModelSource", scratch: Path) -> None:
        from .fidelity_probes import make_probes
        from .model_source import assemble_settings
        from .tokenizer_check import load_tokenizer

        started = time.monotonic()
        # Threads that wait sleep after a moment instead of spinning beside other work; read when torch is imported.
        os.environ.setdefault("GOMP_SPINCOUNT", "1000")
        self._source = source
        self._scratch = scratch
        assemble_settings(source, scratch / "settings")
        self._tokenizer = load_tokenizer(scratch / "settings")
        self._probes, self._remarks = make_probes(self._tokenizer, len(self._tokenizer), source.heldout())
        self._logits: dict[str, np.ndarray] = {}
        self._missing: dict[str, str] = {}
        self._found: dict[tuple[str, str], Divergence] = {}
        self._links = self._torch_links()
        self._seconds = time.monotonic() - started

    def check_run(self) -> Fidelity:
        """The links up to the merged model, and prompts as training and transformers write them."""
        started = time.monotonic()
        prompts = check_prompts(self._tokenizer, trained=self._source.tuned)
        return self._report(str(self._source.run), self._links, prompts, None, started)

    def check(
        self, gguf: Path, *, quantization: str, modelfile: str | None = None, name: str | None = None
    ) -> Fidelity:
        """The whole chain for one GGUF file of the checkpoint.

        Args:
            gguf: the file, under whatever name it has now.
            quantization: its type, as export_gguf names it.
            modelfile: text of the Modelfile that belongs to it.
            name: what to call the file in the report; its path where None.

        Raises:
            BadRequest, ToolFailed: the file cannot be loaded or computed; says why.
        """
        from .llama_cpp import LlamaModel

        started = time.monotonic()
        links = list(self._links)
        last = self._last
        if quantization in UNQUANTISED:
            plain = f"{quantization} GGUF"
            self._file(plain, gguf)
            links.append(self._link(last, plain, file_limit(quantization), exact=True))
            self._forget(plain)  # a quantised file is compared with an f16 file of our own, not with this one
        else:
            packed = f"{quantization} GGUF"
            if "f16 GGUF" not in self._logits:
                self._form("f16 GGUF", self._f16)
            self._file(packed, gguf)
            links.append(self._link(last, "f16 GGUF", file_limit("f16"), exact=True))
            links.append(self._with_weights(self._link("f16 GGUF", packed, file_limit(quantization)), gguf))
        with LlamaModel(gguf, vocab_only=True) as model:
            prompts = check_prompts(self._tokenizer, model=model, modelfile=modelfile, trained=self._source.tuned)
        return self._report(name or str(gguf), links, prompts, file_sha256(gguf), started)

    def _report(
        self, target: str, links: list[Link], prompts: list[PromptCheck], sha256: str | None, started: float
    ) -> Fidelity:
        return Fidelity(
            target=target,
            sound=not any(link.verdict == "broken" for link in links)
            and not any(prompt.verdict == "different" for prompt in prompts),
            links=links,
            prompts=prompts,
            positions=sum(len(probe.positions) for probe in self._probes),
            remarks=self._remarks,
            sha256=sha256,
            seconds=round(self._seconds + time.monotonic() - started, 2),
        )

    @property
    def _last(self) -> str:
        """The form that a GGUF file is made from."""
        return "merged" if self._source.adapter else "tuned" if self._source.tuned else "base"

    # --- forms: logits, or the reason why there are none ---

    def _form(self, name: str, make: "Callable[[], np.ndarray]") -> None:
        try:
            self._logits[name] = make()
        except (BadRequest, MissingExtra, ToolFailed, OSError) as error:
            self._missing[name] = str(error)

    def _forget(self, name: str) -> None:
        """Drop a form and all comparisons with it."""
        self._logits.pop(name, None)
        self._found = {pair: found for pair, found in self._found.items() if name not in pair}

    def _file(self, name: str, gguf: Path) -> None:
        from .next_tokens import gguf_logits

        self._forget(name)
        self._logits[name] = gguf_logits(gguf, self._probes)

    def _f16(self) -> "np.ndarray":
        """An f16 file made as every export makes it."""
        from .next_tokens import gguf_logits
        from .write_gguf import write_gguf

        write_gguf(self._source, "f16", self._scratch / "f16" / self._source.name, self._f16_file)
        return gguf_logits(self._f16_file, self._probes)

    @property
    def _f16_file(self) -> Path:
        return self._scratch / "f16.gguf"

    def _with_weights(self, link: Link, gguf: Path) -> Link:
        """The last link with what its weights say: they show a damaged tensor that the probes do not reach."""
        from .weight_check import damaged_tensor

        if link.verdict == "not checked":
            return link
        link = link.model_copy(update={"by_rounding": link.mean_kl is not None})
        damage = damaged_tensor(self._f16_file, gguf)
        reason = "; ".join(filter(None, (damage, link.reason)))
        return link.model_copy(update={"verdict": "broken", "reason": reason, "by_rounding": False}) if damage else link

    def _model_dir(self) -> Path:
        """The checkpoint as one model folder, merged by the rules of every export."""
        from .model_source import assemble

        folder = self._scratch / self._source.name
        if not folder.exists():
            assemble(self._source, folder, link=True)
        return folder

    def _torch_links(self) -> list[Link]:
        """Compute the forms that transformers can, and compare them."""
        from .next_tokens import torch_logits
        from .torch_forms import adapted, load_float32

        source, probes = self._source, self._probes
        if not source.adapter and not source.tuned:
            self._form("base", lambda: torch_logits(load_float32(source.model), probes))
            return []
        model: Any = None

        def base() -> "np.ndarray":
            nonlocal model
            model = load_float32(self._base_folder())
            return torch_logits(model, probes)

        self._form("base", base)
        if not source.adapter:
            model = None
            self._form("tuned", lambda: torch_logits(load_float32(source.model), probes))
            return [self._link("base", "tuned")]
        adapter = source.adapter
        if "base" in self._missing:
            self._missing["adapter"] = self._missing["base"]
        else:
            self._form("adapter", lambda: torch_logits(adapted(model, adapter), probes))
        model = None
        gc.collect()
        self._form("merged", lambda: torch_logits(load_float32(self._model_dir()), probes))
        return [
            self._link("base", "adapter"),
            self._link("adapter", "merged", merge_limit(_stored_as(source.model)), exact=True),
        ]

    def _base_folder(self) -> Path:
        from .base_models import fetch_base_model

        if self._source.adapter:
            return self._source.model
        if self._source.base_model is None:
            raise ToolFailed("the run does not name its base model")
        return fetch_base_model(self._source.base_model)

    # --- links ---

    def _link(self, before: str, after: str, limit: float | None = None, *, exact: bool = False) -> Link:
        """Compare two forms.

        Args:
            limit: mean KL that the link may have; None where the model must change.
            exact: whether the link must keep what the fine-tune changed, however little that is.
        """
        missing = next((form for form in (before, after) if form in self._missing), None)
        if missing is not None:
            reason = f"{missing}: {self._missing[missing]}"
            return Link(before=before, after=after, verdict="not checked", reason=reason)
        found = self._compared(before, after)
        if limit is None:
            judgement = judge_change(found)
        else:
            effect = self._compared("base", self._tuned) if {"base", self._tuned} <= set(self._logits) else None
            judgement = judge_same(
                found,
                limit,
                effect=effect.mean_kl if effect and exact else None,
                towards_base=self._compared("base", after) if effect else None,
            )
        return Link(
            before=before,
            after=after,
            verdict="sound" if judgement.sound else "broken",
            mean_kl=found.mean_kl if found.finite else None,
            max_kl=found.max_kl if found.finite else None,
            agreement=found.agreement if found.finite else None,
            limit=judgement.limit,
            reason=judgement.reason,
            by_rounding=judgement.by_rounding,
        )

    @property
    def _tuned(self) -> str:
        """The form of the fine-tuned model that our own code has not touched."""
        return "adapter" if self._source.adapter else "tuned"

    def _compared(self, before: str, after: str) -> "Divergence":
        from .next_tokens import compare

        if (before, after) not in self._found:
            self._found[before, after] = compare(self._logits[before], self._logits[after])
        return self._found[before, after]


def _stored_as(folder: Path) -> str:
    """The dtype that most weights of a model folder are stored in."""
    from .safetensors_files import model_tensors

    sizes: Counter[str] = Counter()
    for tensor in model_tensors(folder).values():
        sizes[tensor.dtype] += tensor.bytes
    return sizes.most_common(1)[0][0]
