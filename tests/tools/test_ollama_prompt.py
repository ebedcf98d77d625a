"""A conversation becomes the prompt that Ollama makes of it with a Modelfile."""

import pytest
from tunesmith.tools.go_template import UnknownInGoTemplate
from tunesmith.tools.ollama_prompt import Modelfile, ollama_prompt, read_modelfile

_USER = {"role": "user", "content": "Hi"}
_LISTING = "{{ .System }}:{{ range .Messages }}[{{ .Role }} {{ .Content }}]{{ end }}"


def test_a_template_without_messages_is_refused() -> None:
    with pytest.raises(UnknownInGoTemplate, match="once for each turn"):
        ollama_prompt(Modelfile("{{ .Prompt }}", "", ()), [_USER])


def test_a_modelfile_is_taken_apart() -> None:
    text = (
        'FROM ./a.gguf\nTEMPLATE """{{ .Prompt }}\nSYSTEM inside"""\nSYSTEM """Two\nlines"""\n'
        'PARAMETER stop "<|im_end|>"\nPARAMETER temperature 0.2\nparameter stop </s>\n'
    )
    assert read_modelfile(text) == Modelfile("{{ .Prompt }}\nSYSTEM inside", "Two\nlines", ("<|im_end|>", "</s>"))
    assert read_modelfile('TEMPLATE "{{ .Prompt }}"\nSYSTEM Be kind\n') == Modelfile("{{ .Prompt }}", "Be kind", ())


def test_the_modelfiles_system_message_stands_where_a_conversation_has_none() -> None:
    modelfile = Modelfile(_LISTING, "Be kind.", ())
    assert ollama_prompt(modelfile, [_USER]) == "Be kind.:[system Be kind.][user Hi]"
    own = {"role": "system", "content": "Be brief."}
    assert ollama_prompt(modelfile, [own, _USER]) == "Be brief.:[system Be brief.][user Hi]"


def test_neighbouring_messages_of_one_role_are_joined() -> None:
    assert ollama_prompt(Modelfile(_LISTING, "", ()), [_USER, _USER]) == ":[user Hi\n\nHi]"
