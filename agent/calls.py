"""Requests written as calls of the contract: `export_gguf("runs/a", "q8_0")`."""

import ast

from tunesmith.tools.registry import TOOLS

from .frame import Frame

__all__ = ["read_calls"]


def read_calls(text: str) -> Frame | None:
    """The frame of a message that is nothing but calls of tools, each tool once; None for any other message.

    >>> read_calls('run_eval("models/a.gguf", eval_set="piqa")').values
    {'run_eval.gguf_file': ['models/a.gguf'], 'run_eval.eval_set': ['piqa']}
    >>> read_calls('run_eval("models/a.gguf", question=2)').reply
    '`run_eval` has no parameter `question`; it takes gguf_file, eval_set, limit, data_dir, chat_template'
    """
    if "(" not in text or not any(tool in text for tool in TOOLS):
        return None
    try:
        nodes = [getattr(node, "value", None) for node in ast.parse(text.strip().strip("`")).body]
        calls = [node for node in nodes if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)]
        named = [(node.func.id, node) for node in calls if isinstance(node.func, ast.Name)]
        tools = [tool for tool, _ in named]
        if len(calls) != len(nodes) or len(set(tools)) != len(tools) or not set(tools) <= set(TOOLS):
            return None
        frame = Frame(want=tuple(tools), values={})
        for tool, call in named:
            fields = list(TOOLS[tool].input.model_fields)
            given = dict(zip([*fields, *("an extra value",) * len(call.args)], call.args, strict=False))
            given |= {str(keyword.arg): keyword.value for keyword in call.keywords}
            unknown = next((name for name in given if name not in fields), None)
            if unknown is not None:
                reply = f"`{tool}` has no parameter `{unknown}`; it takes {', '.join(fields)}"
                return Frame("refuse", reply=reply)
            frame.values.update({f"{tool}.{name}": [ast.literal_eval(value)] for name, value in given.items()})
        return frame
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None
