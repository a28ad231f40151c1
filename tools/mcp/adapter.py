"""A server's tools as LangChain tools: names, descriptions, kinds, results."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from langchain_core.tools import BaseTool, ToolException
from mcp.types import (
    AudioContent,
    CallToolResult,
    ContentBlock,
    EmbeddedResource,
    ImageContent,
    ResourceLink,
    TextContent,
    TextResourceContents,
    Tool,
)
from pydantic import Field

from plan_execute.tools.characters import drop_invisible
from plan_execute.tools.mcp.config import ServerConfig
from plan_execute.tools.mcp.schemas import plain_schema
from plan_execute.tools.mcp.session import MOST_LISTED, ServerSession
from plan_execute.tools.messages import list_names, truncate

NAME_LIMIT = 64
"""Most characters of a tool's name: the most that providers take."""
DESCRIPTION_LIMIT = 4_000
"""Most characters of a tool's description."""
SUMMARY_LIMIT = 500
"""Most characters of its first paragraph, which is all that a planner is shown."""
MOST_TOOLS = 200
"""Most tools that one server may offer."""
RESULT_LIMIT = 1_000_000
"""Most characters of a result."""
HINTS = {"readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"}
"""What a server may say about what a tool does."""


class McpTool(BaseTool):
    """A tool of an MCP server."""

    servers: Any = Field(exclude=True, repr=False)
    """Its `McpServers`, whose sessions last as long as a tool of theirs does."""
    session: Any = Field(exclude=True, repr=False)
    remote_name: str
    """What the server calls it."""

    # An argument may have any name, also `self` or `config`.
    def _run(self, /, **arguments: Any) -> str:
        return self._text(self.servers.run(self.session.call_tool(self.remote_name, arguments)))

    async def _arun(self, /, **arguments: Any) -> str:
        return self._text(await self.servers.arun(self.session.call_tool(self.remote_name, arguments)))

    def _text(self, result: CallToolResult) -> str:
        text = truncate(self.session.redact(text_of(result)), RESULT_LIMIT)
        if result.isError:
            raise ToolException(text or "The tool reports an error and does not say which.")
        return text


def offered_tools(config: ServerConfig, listed: Sequence[Tool]) -> list[Tool]:
    """Choose the tools that a server offers: each name once, and only what its user wants.

    Raises:
        ValueError: It has none of a name that its user wants, or too many. The message is one sentence.
    """
    tools: dict[str, Tool] = {}
    for tool in listed:
        if not _needs_task(tool):
            tools.setdefault(tool.name, tool)
    wanted = [*(config.include or ()), *config.exclude, *(set(config.effects) - {"*"})]
    if unknown := [name for name in wanted if name not in tools]:
        raise ValueError(f"{config.label} has no tool {unknown[0]!r}: it has {drop_invisible(list_names(tools))}.")
    chosen = [
        tool
        for name, tool in tools.items()
        if name not in config.exclude and (config.include is None or name in config.include)
    ]
    if len(chosen) > MOST_TOOLS:
        number = f"{len(chosen)}" if len(listed) <= MOST_LISTED else f"more than {MOST_LISTED}"
        raise ValueError(
            f"{config.label} has {number} tools, and at most {MOST_TOOLS} are offered: name those you want in its "
            "'includeTools'."
        )
    return chosen


def unique_names(tools: Iterable[tuple[str, str]]) -> list[str]:
    """Name tools for providers: the server's name and their own, in the characters that all of them take.

    A name that would be too long, or that two tools would have, ends in a hash, so that it is the same in every run.

    Args:
        tools: The name of the server and of the tool, of each tool.
    """
    pairs = list(tools)
    full = [name if name.startswith(f"{server}_") else f"{server}_{name}" for server, name in pairs]
    plain = [re.sub(r"[^a-zA-Z0-9_-]", "_", name) for name in full]
    count = Counter(plain)
    return [
        name if count[name] == 1 and len(name) <= NAME_LIMIT else f"{name[: NAME_LIMIT - 9]}_{_hash(pair)}"
        for name, pair in zip(plain, pairs, strict=True)
    ]


def metadata_of(config: ServerConfig, tool: Tool) -> dict[str, Any]:
    """Say what a tool does: what the user says, else the server's hints; without any, that it changes something."""
    hints = tool.annotations.model_dump(include=HINTS, exclude_none=True) if tool.annotations else {}
    metadata = {"readOnlyHint": False, **hints}
    if effect := config.effects.get(tool.name, config.effects.get("*")):
        metadata["effect"] = effect
    return metadata | {"trusted": True} if config.trusted else metadata


def as_langchain_tools(
    servers: Any, sessions: Sequence[ServerSession], lists: Sequence[Sequence[Tool]]
) -> list[BaseTool]:
    """Make LangChain tools of what servers list.

    Args:
        servers: The `McpServers` that has the sessions.
        sessions: The sessions.
        lists: What each of the servers lists.

    Raises:
        ValueError: See `offered_tools`.
    """
    pairs = [
        (session, tool)
        for session, listed in zip(sessions, lists, strict=True)
        for tool in offered_tools(session.config, listed)
    ]
    names = unique_names((session.config.name, tool.name) for session, tool in pairs)
    return [
        McpTool(
            name=name,
            description=_description_of(session.redact(tool.description or tool.title or tool.name)),
            args_schema=plain_schema(tool.inputSchema, session.redact),
            metadata=metadata_of(session.config, tool),
            servers=servers,
            session=session,
            remote_name=tool.name,
        )
        for (session, tool), name in zip(pairs, names, strict=True)
    ]


def text_of(result: CallToolResult) -> str:
    """Write a result as text; where it has several parts and a structured form, that as JSON."""
    parts = [_describe(block) for block in result.content]
    if result.structuredContent is not None and not (len(parts) == 1 and isinstance(result.content[0], TextContent)):
        left_out = [part for part, block in zip(parts, result.content, strict=True) if not _has_text(block)]
        return "\n".join([json.dumps(result.structuredContent, ensure_ascii=False), *left_out])
    return "\n".join(parts)


def _description_of(text: str) -> str:
    """Make a description all to be seen, with a first paragraph short enough for a planner."""
    text = drop_invisible(text)[:DESCRIPTION_LIMIT]
    if len(text.split("\n\n")[0]) > SUMMARY_LIMIT:
        text = f"{text[:SUMMARY_LIMIT]}...\n\n...{text[SUMMARY_LIMIT:]}"
    return text


def _describe(block: ContentBlock) -> str:
    match block:
        case TextContent(text=text) | EmbeddedResource(resource=TextResourceContents(text=text)):
            return text
        case ImageContent(data=data, mimeType=kind) | AudioContent(data=data, mimeType=kind):
            return f"[{kind}, {len(data) * 3 // 4:,} bytes, left out]"
        case ResourceLink(uri=uri, name=name):
            return f"[resource {uri}: {name}]"
    resource = block.resource
    return f"[{resource.mimeType or 'data'} of {resource.uri}, left out]"


def _has_text(block: ContentBlock) -> bool:
    return isinstance(block, TextContent) or (
        isinstance(block, EmbeddedResource) and isinstance(block.resource, TextResourceContents)
    )


def _needs_task(tool: Tool) -> bool:
    """Tell whether a tool can only be called as a task, which the next revision of MCP does without."""
    execution = getattr(tool, "execution", None)
    return getattr(execution, "taskSupport", None) == "required"


def _hash(pair: tuple[str, str]) -> str:
    return hashlib.sha256("\0".join(pair).encode()).hexdigest()[:8]
