"""The contract's tools as JSON, for agents of any make."""

from typing import Any

from tunesmith.tools.registry import TOOLS

from .contract import load

__all__ = ["openai_tools", "tool_schemas"]


def tool_schemas() -> list[dict[str, Any]]:
    """Name, description and the JSON schemas of Input and Result of every tool, in the contract's order.

    >>> [tool["name"] for tool in tool_schemas()][0]
    'prepare_dataset'
    """
    return [
        {
            "name": row.name,
            "description": row.description,
            "inputSchema": TOOLS[row.name].input.model_json_schema(),
            "outputSchema": TOOLS[row.name].result.model_json_schema(),
        }
        for row in load().tools.values()
    ]


def openai_tools() -> list[dict[str, Any]]:
    """The tools as the `tools` of an OpenAI chat completion, which most servers of language models take.

    >>> openai_tools()[0]["function"]["parameters"]["required"]
    ['source']
    """
    return [
        {
            "type": "function",
            "function": {
                "name": tool["name"],
                "description": tool["description"],
                "parameters": tool["inputSchema"],
            },
        }
        for tool in tool_schemas()
    ]
