"""Clean chat messages: one form for what people write as ChatML, ShareGPT or plain text.

A message is `{"role": "system" | "user" | "assistant" | "tool", "content": text}`; an assistant's may have
`tool_calls` (a JSON text: an array of `{"type": "function", "function": {"name", "arguments"}}`), a tool's
`tool_call_id` and `name`. Messages after the last one of the assistant teach nothing and are cut.
"""

import json
from typing import Any

__all__ = ["Message", "RowError", "clean_conversation", "clean_messages", "clean_tools", "text_of"]

Message = dict[str, str]


class RowError(ValueError):
    """One row cannot be used; the text says why."""


_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "human": "user",
    "assistant": "assistant",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "bot": "assistant",
    "model": "assistant",
    "function_call": "assistant",
    "tool_call": "assistant",
    "tool": "tool",
    "function": "tool",
    "observation": "tool",
    "function_response": "tool",
    "tool_response": "tool",
}
"""Role as data sets write it -> ours."""

_CALLING_ROLES = {"function_call", "tool_call"}


def text_of(value: Any, name: str, *, may_be_empty: bool = False) -> str:
    """`value` as text, as it stands.

    Raises:
        RowError: it is missing, of another type, empty, or holds a NUL character.

    >>> text_of(None, "input", may_be_empty=True)
    ''
    """
    if value is None:
        value = "" if may_be_empty else None
    if not isinstance(value, str):
        raise RowError(f"`{name}` is missing" if value is None else f"`{name}` must be text, it is {value!r:.60}")
    if not may_be_empty and not value.strip():
        raise RowError(f"`{name}` is empty")
    if "\x00" in value:
        raise RowError(f"`{name}` holds a NUL character")
    return value


def clean_messages(value: Any, name: str) -> list[Message]:
    """A list of messages in any known form, cleaned; an empty system message is dropped.

    Raises:
        RowError: names the message and what is wrong with it.

    >>> clean_messages([{"from": "human", "value": "Hi"}], "conversations")
    [{'role': 'user', 'content': 'Hi'}]
    """
    if isinstance(value, dict):
        # `datasets` gives some lists of objects as one object of lists.
        columns = [column for column in value.values() if isinstance(column, list)]
        transposed = len(columns) == len(value) > 0 and len(set(map(len, columns))) == 1
        value = (
            [dict(zip(value, items, strict=True)) for items in zip(*columns, strict=True)] if transposed else [value]
        )
    if not isinstance(value, list) or not value:
        raise RowError(f"`{name}` must be a list of messages" + (", it is empty" if value == [] else ""))
    messages = []
    for number, item in enumerate(value, 1):
        message = _clean_message(item, f"message {number} of `{name}`")
        if message["role"] == "system" and number > 1:
            raise RowError(f"message {number} of `{name}` is a system message; only the first can be one")
        if message["role"] != "system" or message["content"].strip():
            messages.append(message)
    return messages


def clean_conversation(messages: list[Message], name: str) -> list[Message]:
    """Check that there is something to learn, and cut what stands after the assistant's last message.

    Raises:
        RowError: no message of the assistant, or none of the user before it.
    """
    while messages and messages[-1]["role"] != "assistant":
        messages = messages[:-1]
    if not messages:
        raise RowError(f"`{name}` has no message of the assistant to learn from")
    if all(message["role"] != "user" for message in messages):
        raise RowError(f"`{name}` has no message of the user before the assistant's last one")
    return messages


def _clean_message(item: Any, where: str) -> Message:
    if not isinstance(item, dict):
        raise RowError(f"{where} must be an object with `role` and `content`, it is {item!r:.60}")
    role_key = "role" if item.get("role") is not None else "from"
    raw_role = item.get(role_key)
    if raw_role is None:
        raise RowError(f"{where} has no `role`")
    role = _ROLES.get(raw_role.strip().lower()) if isinstance(raw_role, str) else None
    if role is None:
        raise RowError(f"{where} has the role {raw_role!r:.60}; known are system, user, assistant and tool")
    content = item.get("content" if item.get("content") is not None else "value")
    if isinstance(content, list):
        content = _joined_parts(content, where)
    if isinstance(raw_role, str) and raw_role.strip().lower() in _CALLING_ROLES:
        return {"role": role, "content": "", "tool_calls": _clean_calls(content, where)}
    calls = item.get("tool_calls") or ([item["function_call"]] if item.get("function_call") else None)
    if role == "assistant" and calls:
        text = text_of(content, f"content` of {where}", may_be_empty=True)
        return {"role": role, "content": text, "tool_calls": _clean_calls(calls, where)}
    try:
        message = {"role": role, "content": text_of(content, "content", may_be_empty=role in ("system", "tool"))}
    except RowError as error:
        raise RowError(f"{where} ({role}): {error}") from error
    if role == "tool":
        message.update({key: item[key] for key in ("tool_call_id", "name") if isinstance(item.get(key), str)})
    return message


def _joined_parts(parts: list[Any], where: str) -> str:
    """The text of `[{"type": "text", "text": ...}, ...]`."""
    texts = []
    for part in parts:
        if not isinstance(part, dict) or part.get("type", "text") != "text" or not isinstance(part.get("text"), str):
            raise RowError(f"{where} has a part that is not text: {part!r:.60}")
        texts.append(part["text"])
    return "".join(texts)


def _clean_calls(value: Any, where: str) -> str:
    """Tool calls as JSON text, arguments as an object where they parse as one."""
    calls = _parsed(value, f"the tool call in {where}")
    cleaned = []
    for call in calls if isinstance(calls, list) else [calls]:
        function = call.get("function", call) if isinstance(call, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str) or not function["name"]:
            raise RowError(f"the tool call in {where} must be an object with `name` and `arguments`: {call!r:.60}")
        arguments = function.get("arguments", function.get("parameters"))
        arguments = {} if arguments is None else _parsed(arguments, f"`arguments` of the tool call in {where}")
        entry: dict[str, Any] = {"type": "function", "function": {"name": function["name"], "arguments": arguments}}
        if isinstance(call.get("id"), str):
            entry["id"] = call["id"]
        cleaned.append(entry)
    if not cleaned:
        raise RowError(f"the tool call in {where} is empty")
    return json.dumps(cleaned, ensure_ascii=False)


def clean_tools(value: Any) -> str | None:
    """Tool descriptions as JSON text, an array of `{"type": "function", "function": {...}}`; None where there are none.

    Raises:
        RowError: not a list of objects that each have a name.
    """
    if value is None or value == "" or value == []:
        return None
    tools = _parsed(value, "`tools`")
    wrapped = []
    for tool in tools if isinstance(tools, list) else [tools]:
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if not isinstance(function, dict) or not isinstance(function.get("name"), str):
            raise RowError(f"`tools` must be a list of function descriptions with a `name`; it has {tool!r:.60}")
        wrapped.append({"type": "function", "function": function})
    return json.dumps(wrapped, ensure_ascii=False) if wrapped else None


def _parsed(value: Any, what: str) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError) as error:
        raise RowError(f"{what} is not JSON: {value!r:.60}") from error
