"""Kinds of tools: which of them read what others wrote, and which reach out or change something."""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from langchain_core.tools import BaseTool

ToolKind = Literal["read", "egress", "effect"]
"""`egress` reaches an address that its arguments choose, `effect` changes something outside the run."""

KINDS: Mapping[ToolKind, str] = {"read": "", "egress": "reaches out", "effect": "changes something"}
"""What a planner is told of each kind."""
HINTS = "readOnlyHint", "destructiveHint", "idempotentHint", "openWorldHint"
"""The hints that an MCP server gives about a tool, which `langchain-mcp-adapters` puts into its metadata."""


def kind_of(tool: BaseTool | None) -> ToolKind:
    """Tell the kind of a tool: what `metadata={"effect": ...}` says; where it says nothing, what MCP hints say.

    A tool whose hints do not say that it only reads has effects, as the MCP specification (2025-06-18, "Tool
    annotations") has it; one that only reads, but in an open world, reaches out. A tool without metadata reads.
    """
    metadata = (tool.metadata if tool else None) or {}
    for kind in KINDS:
        if metadata.get("effect") == kind:
            return kind
    hints = mcp_hints(metadata)
    if hints is None:
        return "read"
    if not hints.get("readOnlyHint"):
        return "effect"
    return "egress" if hints.get("openWorldHint", True) else "read"


def is_idempotent(tool: BaseTool | None) -> bool:
    """Tell whether a call may be repeated without harm: declared by `metadata={"idempotent": True}`, or hinted so."""
    metadata = (tool.metadata if tool else None) or {}
    declared = metadata.get("idempotent")
    return bool((mcp_hints(metadata) or {}).get("idempotentHint") if declared is None else declared)


def is_trusted(tool: BaseTool | None) -> bool:
    """Tell whether what a tool returns is the user's own: declared by `metadata={"trusted": True}`."""
    return tool is not None and (tool.metadata or {}).get("trusted") is True


def acts(tool: BaseTool | None) -> bool:
    """Tell whether a tool reaches out or changes something."""
    return kind_of(tool) != "read"


def languages_of(tool: BaseTool | None) -> Mapping[str, str]:
    """Return in which language arguments are written, by their names: `metadata={"languages": {"sql": "sql"}}`."""
    languages: Mapping[str, str] = ((tool.metadata if tool else None) or {}).get("languages", {})
    return languages


def needs_strict(tools: Iterable[BaseTool]) -> bool:
    """Tell whether a run with these tools needs strict trust.

    It does where what others wrote, which comes in through a tool, could make another call reach out or change
    something.
    """
    tools = list(tools)
    reads_others = any(kind_of(tool) != "effect" and not is_trusted(tool) for tool in tools)
    return reads_others and any(map(acts, tools))


def mcp_hints(metadata: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Return the hints of an MCP server in a tool's metadata; None if there are none."""
    hints = {name: metadata[name] for name in HINTS if metadata.get(name) is not None}
    return hints or None
