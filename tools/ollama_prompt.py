"""The prompt that Ollama makes of a conversation with a Modelfile: its template, its system message, its stop words.

What Ollama does around the template: `collate` and `Execute` in its template/template.go. It joins neighbouring
messages of one role with an empty line, gives all system text as `.System` too, and puts the Modelfile's SYSTEM in
front of a conversation that has none.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .go_template import UnknownInGoTemplate, render_go_template

__all__ = ["Modelfile", "ollama_prompt", "read_modelfile"]

_INSTRUCTION = re.compile(
    r'^(?P<name>[A-Za-z]+)[ \t]+(?:"""(?P<long>.*?)"""|(?P<short>[^\n]*))[ \t]*$', re.DOTALL | re.MULTILINE
)


@dataclass(frozen=True)
class Modelfile:
    """The instructions of a Modelfile that shape a prompt."""

    template: str
    system: str
    stop: tuple[str, ...]


def read_modelfile(text: str) -> Modelfile:
    """Take a Modelfile apart; what is missing is empty.

    >>> read_modelfile('FROM ./x.gguf\\nTEMPLATE \"\"\"{{ .Prompt }}\"\"\"\\nPARAMETER stop "</s>"\\n')
    Modelfile(template='{{ .Prompt }}', system='', stop=('</s>',))
    """
    found: dict[str, str] = {}
    stop = []
    for match in _INSTRUCTION.finditer(text):
        name = match["name"].upper()
        value = match["long"] if match["long"] is not None else match["short"].strip()
        if name == "PARAMETER":
            parameter, _, setting = value.partition(" ")
            if parameter == "stop":
                stop.append(_bare(setting.strip()))
        else:
            found[name] = value if match["long"] is not None else _bare(value)
    return Modelfile(found.get("TEMPLATE", ""), found.get("SYSTEM", ""), tuple(stop))


def _bare(value: str) -> str:
    return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value


def ollama_prompt(modelfile: Modelfile, messages: Sequence[Mapping[str, Any]]) -> str:
    """The text that the model reads before it answers.

    Args:
        messages: {role, content}, the last one not the assistant's.

    Raises:
        GoTemplateError: the template is broken, or (UnknownInGoTemplate) more than is known here.
    """
    if ".Messages" not in modelfile.template:
        raise UnknownInGoTemplate("a template without `.Messages`, which is run once for each turn, is not known")
    system = [str(message["content"]) for message in messages if message["role"] == "system"]
    said = [dict(message) for message in messages]
    if modelfile.system and messages[0]["role"] != "system":
        system = [modelfile.system]
        said.insert(0, {"role": "system", "content": modelfile.system})
    joined: list[dict[str, Any]] = []
    for message in said:
        if joined and joined[-1]["Role"] == message["role"] != "tool":
            joined[-1]["Content"] += f"\n\n{message['content']}"
        else:
            joined.append({"Role": message["role"], "Content": message["content"], "ToolCalls": [], "Thinking": ""})
    data = {"System": "\n\n".join(system), "Messages": joined, "Tools": [], "Response": ""}
    return render_go_template(modelfile.template, data)
