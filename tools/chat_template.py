"""Render a model's own chat template, which is a program from a stranger: in a sandbox, in a process with limits.

A template can't reach Python's objects (jinja2's immutable sandbox), and the process that renders it can't run
longer, take more memory or write more than the limits below.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from .base import BadRequest, ToolFailed, note
from .chat_rendering import OUTPUT_FACTOR, OUTPUT_MARGIN, PLAIN_TEMPLATE, ChatRenderer

__all__ = ["Chat", "render_chats"]

_SECONDS_START = 10
_SECONDS_PER_CHAT = 0.05
_MEMORY_BYTES = 2 * 1024**3


@dataclass(frozen=True)
class Chat:
    """What one rendering is made from: messages as {role, content, ...}, the tools on offer, and the open end."""

    messages: Sequence[dict[str, Any]]
    tools: Sequence[dict[str, Any]] | None = None
    add_generation_prompt: bool = False


def render_chats(template: str, chats: Sequence[Chat], *, bos_token: str = "", eos_token: str = "") -> list[str]:
    """The text of each chat as the template writes it.

    `tojson`, `raise_exception`, `strftime_now`, loop controls and the `generation` block are there, blocks are
    trimmed: the environment in which Hugging Face's and llama.cpp's templates are written. What the template has
    no words for (a system role, tools) is put as ChatRenderer puts it for training; an empty template is its plain
    one.

    Raises:
        ToolFailed: the template does not parse, raises, or breaks a limit; says which.

    >>> render_chats("{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}", [Chat([{"role": "user",
    ... "content": "Hello"}])])
    ['<user>Hello']
    """
    if not chats:
        return []
    request = json.dumps(
        {
            "template": template,
            "chats": [asdict(chat) for chat in chats],
            "special": {"bos_token": bos_token, "eos_token": eos_token},
        }
    )
    seconds = _SECONDS_START + _SECONDS_PER_CHAT * len(chats)
    try:
        process = subprocess.run(
            [sys.executable, "-P", "-m", "tunesmith.tools.chat_template"],
            input=request.encode(),
            capture_output=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolFailed(
            f"the chat template did not render {len(chats)} conversations in {seconds:.0f} seconds"
        ) from error
    if process.returncode != 0:
        lines = process.stderr.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"its process ended with status {process.returncode}"
        raise ToolFailed(f"the chat template can't be rendered: {reason[:300]}")
    texts: list[str]
    texts, notes = json.loads(process.stdout)
    for text in notes:
        note(text)
    return texts


class _TooMuch(Exception):
    """The template writes more than it may. Not one of the errors that ChatRenderer takes for a refusal."""


class _Template:
    """The two attributes of a transformers tokenizer that ChatRenderer uses, on jinja2's sandbox."""

    def __init__(self, text: str, special: dict[str, str], characters: int) -> None:
        from datetime import datetime

        from jinja2 import nodes
        from jinja2.exceptions import TemplateError
        from jinja2.ext import Extension, loopcontrols
        from jinja2.parser import Parser
        from jinja2.sandbox import ImmutableSandboxedEnvironment

        class Generation(Extension):
            """`{% generation %}` marks what the model writes, for training; rendered, it is just its content."""

            tags = {"generation"}  # noqa: RUF012 - the attribute that jinja2 reads

            def parse(self, parser: Parser) -> list[nodes.Node]:
                next(parser.stream)
                body: list[nodes.Node] = parser.parse_statements(("name:endgeneration",), drop_needle=True)
                return body

        def tojson(value: Any, indent: int | None = None, **options: Any) -> str:
            return json.dumps(value, ensure_ascii=False, indent=indent, **options)

        def raise_exception(message: str) -> None:
            raise TemplateError(message)

        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
        )
        environment.filters["tojson"] = tojson
        environment.globals["raise_exception"] = raise_exception
        environment.globals["strftime_now"] = lambda form: datetime.now().strftime(form)
        self.chat_template = text
        self._special = special
        self._characters = characters
        self._template = environment.from_string(text) if text else None
        self._plain = environment.from_string(PLAIN_TEMPLATE)

    def apply_chat_template(
        self, messages: Sequence[Any], *, tools: Sequence[Any] | None, tokenize: bool, add_generation_prompt: bool
    ) -> str:
        """The text of one conversation. `tokenize` is never asked for."""
        pieces = []
        values = {"messages": messages, "tools": tools, "add_generation_prompt": add_generation_prompt}
        for piece in (self._template or self._plain).generate(**self._special, **values):
            pieces.append(piece)
            self._characters -= len(piece)
            if self._characters < 0:
                raise _TooMuch("it writes far more text than the conversations hold")
        return "".join(pieces)


def main() -> int:
    """Render the request on stdin; returns the exit status. The last line on stderr says what is wrong."""
    import resource

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    data = sys.stdin.buffer.read()
    try:
        request = json.loads(data)
        renderer = ChatRenderer(
            _Template(request["template"], request["special"], OUTPUT_FACTOR * len(data) + OUTPUT_MARGIN)
        )
        texts = [
            renderer.render(chat["messages"], tools=chat["tools"], generation_prompt=chat["add_generation_prompt"])
            for chat in request["chats"]
        ]
    except MemoryError:
        print(f"it takes more than {_MEMORY_BYTES // 1024**2} MiB of memory", file=sys.stderr)
        return 1
    except (BadRequest, _TooMuch) as error:
        print(str(error).replace("\n", " "), file=sys.stderr)
        return 1
    except Exception as error:  # noqa: BLE001 - the end of a process: whatever a stranger's program raises
        print(f"{type(error).__name__}: {error}".replace("\n", " "), file=sys.stderr)
        return 1
    sys.stdout.write(json.dumps([texts, renderer.notes]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
