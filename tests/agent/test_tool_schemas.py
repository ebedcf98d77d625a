"""`tunesmith tools --openai` and `--json-schema`: the contract's tools for agents of any make."""

import json

import pytest
from tunesmith.agent.cli import main
from tunesmith.agent.contract import load
from tunesmith.tools.registry import TOOLS


def printed(flag: str, capsys: pytest.CaptureFixture[str]) -> list[dict[str, object]]:
    assert main(["tools", flag]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    tools: list[dict[str, object]] = json.loads(out)
    return tools


def test_the_openai_form_has_the_contracts_names_texts_and_parameters(capsys: pytest.CaptureFixture[str]) -> None:
    tools = printed("--openai", capsys)
    assert {tool["type"] for tool in tools} == {"function"}
    functions = [tool["function"] for tool in tools]
    assert [(one["name"], one["description"]) for one in functions] == [  # type: ignore[index]
        (row.name, row.description) for row in load().tools.values()
    ]
    for function, row in zip(functions, load().tools.values(), strict=True):
        schema = function["parameters"]  # type: ignore[index]
        assert list(schema["properties"])[: len(row.parameters)] == list(row.parameters)
        assert schema["additionalProperties"] is False
        assert all(schema["properties"][name]["description"] for name in schema["properties"])


def test_the_json_schemas_are_those_of_input_and_result(capsys: pytest.CaptureFixture[str]) -> None:
    tools = printed("--json-schema", capsys)
    assert [tool["name"] for tool in tools] == list(load().tools)
    for tool in tools:
        code = TOOLS[str(tool["name"])]
        assert tool["inputSchema"] == code.input.model_json_schema()
        assert tool["outputSchema"] == code.result.model_json_schema()


def test_an_unknown_flag_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools", "--yaml"]) == 2
    assert "not a tool of the contract" in capsys.readouterr().err
