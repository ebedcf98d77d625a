"""Go templates are rendered as Go renders them, or refused."""

import pytest
from tunesmith.tools.go_template import GoTemplateError, UnknownInGoTemplate, render_go_template

_DATA = {
    "System": "Be kind.",
    "Empty": "",
    "Messages": [{"Role": "user", "Content": "a"}, {"Role": "assistant", "Content": "b {{ .Role }}"}],
    "None": [],
    "Two": 2,
    "Yes": True,
}


@pytest.mark.parametrize(
    "template",
    [
        "{{ if .System }}open",
        "{{ range .Messages }}{{ else }}",
        "{{ .System ",
        "{{ end }}",
        "{{ else }}",
        "{{ }}",
        "{{ $x }}",
        "{{ $x = 1 }}",
        "{{ if .Yes }}{{ $x := 1 }}{{ end }}{{ $x }}",
        '{{ "a" "b" }}',
        "{{ not }}",
        "{{ and }}",
        "{{ eq .System }}",
        '{{ eq .Two "2" }}',
        "{{ len .Two }}",
        "{{ slice .System 3 99 }}",
        "{{ index .Messages 2 }}",
        "{{ (len .System }}",
        "{{ len .System) }}",
    ],
)
def test_what_go_refuses_is_refused(template: str) -> None:
    with pytest.raises(GoTemplateError):
        render_go_template(template, _DATA)


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("{{ printf .System }}", "`printf` is not known"),
        ("{{ with .System }}x{{ end }}", "`with` is not known"),
        ('{{ template "x" }}', "`template` is not known"),
        ("{{ range .Messages }}{{ break }}{{ end }}", "`break` is not known"),
        ("{{ .system }}", r"`\.system` is not known"),
        ("{{ range .Messages }}{{ .Name }}{{ end }}", r"`\.Name` is not known"),
        ("{{ .Messages }}", "how Go prints"),
        ("{{ range .System }}x{{ end }}", "`range` over"),
        ("{{ 1.5 }}", "is not known"),
        (r'{{ "\x41" }}', "escape"),
        ("{{ range .Messages }}{{ else if .System }}{{ end }}", "is not known"),
    ],
)
def test_what_is_not_known_is_refused_by_its_name(template: str, said: str) -> None:
    with pytest.raises(UnknownInGoTemplate, match=said):
        render_go_template(template, _DATA)


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("plain } text {", "plain } text {"),
        ("a {{- /* {{ nothing }} */ -}} b", "ab"),
        ("{{/* c */}}x", "x"),
        ("a \n{{- .System -}}\t b", "aBe kind.b"),
        ("a {{-3}} b", "a -3 b"),
        ("{{ if .Empty }}1{{ else if .None }}2{{ else if .Two }}3{{ else }}4{{ end }}", "3"),
        ("{{ if not .Empty }}1{{ end }}{{ if and .Yes .Empty }}2{{ end }}{{ if or .Empty .Two }}3{{ end }}", "13"),
        ("{{ and .Two .Empty }}|{{ or .Empty .System }}", "|Be kind."),
        ("{{ or .Yes .nothing }}{{ and .Empty .nothing }}", "true"),
        ("{{ range .Messages }}{{ .Role }}={{ .Content }};{{ end }}", "user=a;assistant=b {{ .Role }};"),
        ("{{ range $m := .Messages }}{{ $m.Role }}{{ $.System }}{{ end }}", "userBe kind.assistantBe kind."),
        ("{{ range $i, $m := .Messages }}{{ $i }}{{ $m.Content }}{{ end }}", "0a1b {{ .Role }}"),
        ("{{ range .None }}x{{ else }}none{{ end }}", "none"),
        ("{{ $x := 1 }}{{ range .Messages }}{{ $x }}{{ $x = .Role }}{{ end }}{{ $x }}", "1userassistant"),
        ("{{ $x := 1 }}{{ if .Yes }}{{ $x := 2 }}{{ $x }}{{ end }}{{ $x }}", "21"),
        ('{{ if eq .Two 1 2 }}y{{ end }}{{ if ne .System "x" }}n{{ end }}', "yn"),
        ('{{ "{{" }}{{ `a"b\\n` }}{{ "q\\"\\n" }}', '{{a"b\\nq"\n'),
        ("{{ len .System }}{{ len (slice .Messages 1) }}{{ .System | len }}", "818"),
        ("{{ eq (len (slice .Messages 1)) 1 }}", "true"),
        ('{{ slice "Größe" 0 2 }}', "Gr"),
        ("{{ .Yes }}{{ .Two }}", "true2"),
    ],
)
def test_a_template_is_rendered_as_go_renders_it(template: str, text: str) -> None:
    assert render_go_template(template, _DATA) == text
