"""What the plan pins of a milestone: its calls, made by code where they are all pinned, and the values it yields."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from langchain_core.messages import AIMessage, ToolCall, ToolMessage

from plan_execute.agent import prompts
from plan_execute.agent.executor.scratchpad import CALL_NUMBER, REPORT, Scratchpad
from plan_execute.agent.prompts import RESULT_LIMIT
from plan_execute.agent.state import Brief, RoleUsage, ToolCallRecord, Yield, new_id
from plan_execute.agent.truncation import truncate_middle
from plan_execute.agent.trust.pins import all_pinned, milestones_used, resolve_args
from plan_execute.agent.trust.tool_kinds import acts, is_trusted, languages_of
from plan_execute.agent.trust.values import ValueKindError, read_value, value_at

DIRECT = "direct"
"""Where the metadata of an AI message says that code made its calls."""
PASSING = frozenset({"transient", "timeout"})
"""Classes of failure after which the same calls may succeed."""
NO_CALLS: dict[str, RoleUsage] = {
    "executor": RoleUsage(calls=0, input_tokens=0, output_tokens=0, usd=0.0, models={}),
}
"""What a milestone without a model costs."""


class Pin(NamedTuple):
    """A pinned call with its values in place."""

    tool: str
    args: dict[str, Any] | None
    """None if a value is missing."""
    tainted: bool
    """Whether a value in it may come from a tool that is not trusted."""


def pins_of(pad: Scratchpad) -> list[Pin]:
    """Return the calls that the plan pins, in order."""
    brief, tools = pad.brief, pad.build.tools
    values, tainted = brief.get("values", {}), set(brief.get("tainted", ()))
    pins = []
    for call in brief.get("calls", ()):
        args = resolve_args(call, values, languages_of(tools.get(call["tool"])))
        pins.append(Pin(call["tool"], args, bool(milestones_used(call) & tainted)))
    return pins


def next_message(pad: Scratchpad) -> AIMessage | None:
    """Take the next step of a milestone whose calls are all pinned, without a model.

    Calls that only read are made at once, others one by one. When all have succeeded and every value it yields can be
    read from the last result, the milestone is reported.

    Returns:
        An AI message with the calls, or with the report; None where a model has to go on: where it has to read a
        value, and in open trust also where a call has failed for good or a value is not where the plan says.
    """
    brief = pad.brief
    made = pad.tally["calls"][: len(brief.get("calls", ()))]  # a model's own come behind them
    if not all_pinned(brief["tools"], brief.get("calls", ())):
        return None
    strict = pad.context.trust == "strict"
    pins = pins_of(pad)
    if any(pin.args is None for pin in pins):
        return _report("failed", "A value that its calls refer to is missing.") if strict else None
    if failed := [call for call in made if not call["ok"]]:
        again = failed[-1]["code"] in PASSING and brief.get("attempt", 1) < pad.context.max_attempts
        return _report("failed", failed[-1]["error"] or "") if strict or again else None
    if len(made) < len(pins):
        if limit := pad.limit_reached():
            return _report("failed", f"Not all calls were made: {limit} is used up.")
        return _calling(_next_batch(pins[len(made) :], pad))
    if any(wanted.get("path") is None for wanted in brief.get("yields", ())):
        return None
    values, problems = read_yields(pad, [])
    if problems and not strict:
        return None
    return _report("succeeded", _describe_results(pad), values)


def is_direct(message: AIMessage | None) -> bool:
    """Tell whether code made the calls of a message, as the plan pins them."""
    return message is not None and bool(message.response_metadata.get(DIRECT))


def refuse_unpinned(call: ToolCall, pad: Scratchpad) -> str | None:
    """Say why a model may not make a call; None if it may.

    It may call the tools that it is offered. One that is pinned is called as pinned, and one that acts as often. One
    that only reads is free again where pinned calls did not work.
    """
    name, brief = call["name"], pad.brief
    if name not in offered_tools(pad):
        return f"{name!r} is not yours to call: here only the plan makes its calls."
    acting = acts(pad.build.tools[name])
    pins = [pin for pin in pins_of(pad) if pin.tool == name]
    if not pins or (not acting and all_pinned(brief["tools"], brief["calls"])):
        return None
    same = sum(pin.args == call["args"] for pin in pins)
    if not same:
        shown = " or ".join(truncate_middle(str(pin.args), prompts.DIGEST_LIMIT) for pin in pins)
        return f"{name!r} is pinned by the plan: call it with {shown}, and nothing else."
    made = sum(
        _is_spent(record) and (record["tool"], record["args"]) == (name, call["args"]) for record in pad.tally["calls"]
    )
    return f"{name!r} was called already as often as the plan pins it." if acting and made >= same else None


def uses_tainted(call: ToolCall, pad: Scratchpad) -> bool:
    """Tell whether a pinned call that acts has a value in it that may come from a tool that is not trusted."""
    same = (pin for pin in pins_of(pad) if (pin.tool, pin.args) == (call["name"], call["args"]))
    return acts(pad.build.tools.get(call["name"])) and any(pin.tainted for pin in same)


def offered_tools(pad: Scratchpad) -> list[str]:
    """Return the names of the granted tools that a model may call.

    In strict trust a tool that acts is called by code only, unless a person has opened the milestone. Where code has
    made all calls, a model only reads values from the results, and a call of its own would change what is there.
    """
    brief = pad.brief
    granted = [name for name in brief["tools"] if name in pad.build.tools]
    pins = brief.get("calls", ())
    made = pad.tally["calls"][: len(pins)]
    if all_pinned(granted, pins) and len(made) >= len(pins) and all(call["ok"] for call in made):
        return []
    if pad.context.trust == "strict" and not brief.get("open"):
        return [name for name in granted if not acts(pad.build.tools[name])]
    return granted


def read_yields(pad: Scratchpad, reported: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], list[str]]:
    """Read the values that a milestone yields: from the last result where the plan says where, else from the report.

    Args:
        pad: The scratchpad.
        reported: The values in the report.

    Returns:
        The values by name, and a sentence for each that is missing or not of its kind, without the value itself.
    """
    said = {value["name"]: value["value"] for value in reported}
    values: dict[str, Any] = {}
    problems = []
    for wanted in pad.brief.get("yields", ()):
        name, path = wanted["name"], wanted.get("path")
        try:
            if path is None and name not in said:
                raise ValueKindError("it is missing")
            values[name] = read_value(said[name] if path is None else value_at(last_result(pad), path), wanted)
        except ValueKindError as error:
            problems.append(f"The value {name!r} ({describe_kind(wanted)}) cannot be passed on: {error}.")
    return values, problems


def is_milestone_tainted(pad: Scratchpad) -> bool:
    """Tell whether anything that a milestone yields may come from a tool that is not trusted."""
    tools = (pad.build.tools.get(name) for name in pad.brief["tools"])
    return bool(pad.brief.get("tainted")) or not all(map(is_trusted, tools))


def describe_kind(wanted: Yield) -> str:
    """Write a kind with its options."""
    return f"{wanted['kind']}: {', '.join(wanted['options'])}" if wanted["options"] else wanted["kind"]


def asked_values(brief: Brief) -> list[Yield]:
    """Return the values that the executor's model has to report."""
    return [wanted for wanted in brief.get("yields", ()) if wanted.get("path") is None]


def last_result(pad: Scratchpad) -> str:
    """Return the whole result of the last call that succeeded; an empty text if none has."""
    results = list(_results(pad))
    return results[-1][1] if results else ""


def _results(pad: Scratchpad) -> Iterator[tuple[ToolCallRecord, str]]:
    """Yield the calls that succeeded, each with its whole result."""
    for message in pad.messages:
        number = message.additional_kwargs.get(CALL_NUMBER) if isinstance(message, ToolMessage) else None
        record = pad.tally["calls"][number - 1] if number and number <= len(pad.tally["calls"]) else None
        if record and record["ok"]:
            text = pad.tally["kept"].get(f"r{number}", message.text)
            yield record, text[message.additional_kwargs.get("preamble", 0) :]


def _describe_results(pad: Scratchpad) -> str:
    results = list(_results(pad))
    if len(results) == 1:
        return truncate_middle(results[0][1], RESULT_LIMIT)
    share = RESULT_LIMIT // max(len(results), 1)
    return "\n".join(f"{record['tool']}: {truncate_middle(text, share)}" for record, text in results)


def _next_batch(pins: Sequence[Pin], pad: Scratchpad) -> list[Pin]:
    """Return the calls to make next: one that acts, or all up to it that only read."""
    reading = [index for index, pin in enumerate(pins) if acts(pad.build.tools.get(pin.tool))]
    return list(pins[: max(reading[0], 1)] if reading else pins)


def _calling(pins: Sequence[Pin]) -> AIMessage:
    calls = [ToolCall(name=pin.tool, args=pin.args or {}, id=new_id(), type="tool_call") for pin in pins]
    return AIMessage("", tool_calls=calls, response_metadata={DIRECT: True, "unasked": True})


def _report(status: str, result: str, values: dict[str, Any] | None = None) -> AIMessage:
    listed = [{"name": name, "value": value} for name, value in (values or {}).items()]
    args = {"status": status, "result": result, "missing": None, "surprise": None, "values": listed}
    calls = [ToolCall(name=REPORT, args=args, id=new_id(), type="tool_call")]
    return AIMessage("", tool_calls=calls, response_metadata={DIRECT: True, "unasked": True})


def _is_spent(record: ToolCallRecord) -> bool:
    """Tell whether a call had its effect, or may have had it."""
    return record["ok"] or record["code"] in {"outcome_unknown", "timeout"}
