"""What is read from a model's reply: the data it meant, and tool calls that it wrote as text."""

import json

import pytest
from langchain_core.messages import AIMessage

from plan_execute.agent.llm.parsing import read_data, read_textual_calls, without_thoughts
from plan_execute.agent.schemas import MilestoneReport, PlanDraft, Synthesis

DRAFT = json.dumps({"strategy": "the discarded one", "requirements": ["x"], "milestones": []})
FINAL = json.dumps({"strategy": "the final one", "requirements": ["x"], "milestones": []})
SCHEMA = {"type": "object", "properties": {"sql": {"type": "string"}}}
CALL = {"name": "query", "arguments": {"sql": "SELECT 1"}}
REPORT: dict[str, object] = {"status": "succeeded", "result": "80", "missing": None, "surprise": None, "values": []}
REPORT_CALL = {"name": "MilestoneReport", "arguments": REPORT}


@pytest.mark.parametrize(
    "text",
    [
        f"<think>{DRAFT}</think>{FINAL}",
        f"{DRAFT}\nNo, better another way.</think>\n{FINAL}",
        f"<thinking>{DRAFT}</thinking>\n```json\n{FINAL}\n```",
        f"<reasoning>{DRAFT}</reasoning>{FINAL}",
        f"<think>a <think>{DRAFT}</think> b</think>{FINAL}",
        f"[THINK]{DRAFT}[/THINK]{FINAL}",
        f"◁think▷{DRAFT}◁/think▷{FINAL}",
        f"<|channel|>analysis<|message|>{DRAFT}<|end|><|start|>assistant<|channel|>final<|message|>{FINAL}<|return|>",
        f"Draft:\n{DRAFT}\nFinal:\n{FINAL}",
        f'{FINAL}\nOne milestone looks like {{"id": "m1", "goal": "g", "pitfalls": []}}.',
        f"{DRAFT}\nAgain: {FINAL.replace('{', '{{').replace('}', '}}')}",
    ],
)
def test_a_plan_is_the_last_complete_one_outside_the_thoughts(text: str) -> None:
    data = read_data(AIMessage(text), PlanDraft)
    assert data is not None
    assert data["strategy"] == "the final one"


@pytest.mark.parametrize(
    ("text", "ending"),
    [
        (f"<think>{DRAFT}", "stop"),
        (f"<|channel|>analysis<|message|>{DRAFT}", "stop"),
        (f"{DRAFT}\nFinal: {FINAL[:-20]}", "length"),
        (f'{DRAFT}\nFinal: {{"strategy": "half a sent', "stop"),
    ],
)
def test_a_draft_is_no_plan_while_the_final_one_is_missing(text: str, ending: str) -> None:
    message = AIMessage(text, response_metadata={"finish_reason": ending})
    assert read_data(message, PlanDraft) is None


def test_words_about_thoughts_inside_an_answer_stay() -> None:
    data = {"answer": "The tag <think> opens a thought, </think> closes it.", "requirements": []}
    assert read_data(AIMessage(json.dumps(data)), Synthesis) == data
    assert without_thoughts("a < b and [1]") == "a < b and [1]"


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(CALL),
        f"```json\n{json.dumps(CALL)}\n```",
        f"```\n{json.dumps(CALL)}",
        f"<tools></tools>\n\n```json\n{json.dumps(CALL, indent=2)}\n```" + "\n" * 300,
        f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>",
        f"<|tool_call|>{json.dumps(CALL)}<|/tool_call|>",
        f"[TOOL_CALLS][{json.dumps(CALL)}]",
        f"<think>I could call nothing.</think>{json.dumps(CALL)}",
        '{{"name": "query", "arguments": {{"sql": "SELECT 1"}}}}',
        '{"name": "functions.query", "parameters": {"sql": "SELECT 1"}}',
        '{"tool": "query", "args": "{\\"sql\\": \\"SELECT 1\\"}"}',
        '{"type": "function", "function": {"name": "Query", "arguments": {"sql": "SELECT 1"}}}',
        "{'name': 'query', 'arguments': {'sql': 'SELECT 1'}}",
        '{"name": "query", "arguments": {"sql": "SELECT 1"}',
        '<function=query>{"sql": "SELECT 1"}</function>',
        "<tool_call>\n<function=query>\n<parameter=sql>\nSELECT 1\n</parameter>\n</function>\n</tool_call>",
        'query(sql="SELECT 1")',
        f"{json.dumps(CALL)}\n{json.dumps(REPORT_CALL)}",
        f'{json.dumps(CALL)}\n{{"customers": 50}}',
        json.dumps({"function": "query", "arguments": CALL["arguments"]}),
        json.dumps({"type": "function", "function": {"name": "query", "parameters": SCHEMA}})
        + f"\n```json\n{json.dumps(CALL)}\n```",
        f"<tools>\n{json.dumps(CALL)}\n</tools>\n<result>\n50\n</result>\n<missing>\nnull\n</missing>\n</tools>",
        f"<tool_call>{json.dumps(CALL)}</tool_call>\n<tool_response>\nThere are 50 customers.",
        f"<tools>\n{{{json.dumps(CALL)}}}\n</tools>\n<tools>\n{{{json.dumps(REPORT_CALL)[:-1]}}}\n</tools>",
        f"<tools>\n{{{json.dumps(CALL)[:-1]}}}\n</tools>\n<tools>\n{{{json.dumps(REPORT_CALL)}}}\n</tools>",
        f"<tool_call>{json.dumps(CALL)}</tool_call>,\n<tool_call>{json.dumps(REPORT_CALL)}</tool_call>",
        f"{{{json.dumps(CALL)}}}\n{{{json.dumps(REPORT_CALL)}}}",
        f"<tools>\n{{{json.dumps(CALL)}}}\n</tools>\n```json\n{json.dumps(REPORT_CALL)}\n```",
    ],
)
def test_a_message_that_is_nothing_but_a_call_is_that_call(text: str) -> None:
    message = read_textual_calls(AIMessage(text), ["query", "search"], MilestoneReport)
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("query", {"sql": "SELECT 1"})]
    assert message.text == ""


@pytest.mark.parametrize("sql", ["SELECT '<b>' || x", "SELECT 1 -- ```x", "SELECT '</tool_call>'", "SELECT '{}<b>{}'"])
def test_what_looks_like_a_tag_inside_an_argument_stays(sql: str) -> None:
    call = json.dumps({"name": "query", "arguments": {"sql": sql}})
    for text in (call, f"<tool_call>\n{call}\n</tool_call>", f"```json\n{call}\n```"):
        message = read_textual_calls(AIMessage(text), ["query"], MilestoneReport)
        assert [call["args"] for call in message.tool_calls] == [{"sql": sql}]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(REPORT),
        "{{" + json.dumps(REPORT)[1:-1] + "}}",
        f"```json\n{json.dumps({'name': 'milestone_report', 'arguments': REPORT})}\n```",
        f"<result>\n80\n</result>\n<MilestoneReport>\n{json.dumps(REPORT)}\n</MilestoneReport>",
    ],
)
def test_a_report_may_come_without_its_name(text: str) -> None:
    message = read_textual_calls(AIMessage(text), ["query"], MilestoneReport)
    assert [(call["name"], call["args"]["result"]) for call in message.tool_calls] == [("MilestoneReport", "80")]


@pytest.mark.parametrize("rest", [json.dumps(CALL)[:-9], f"{json.dumps(CALL)}\n" * 9, "<result>There are"])
def test_first_of_endless_calls_counts(rest: str) -> None:
    said = AIMessage(f"<tools>\n{json.dumps(CALL)}\n{rest}", response_metadata={"finish_reason": "length"})
    message = read_textual_calls(said, ["query"], MilestoneReport)
    assert [(call["name"], call["args"]) for call in message.tool_calls] == [("query", {"sql": "SELECT 1"})]


@pytest.mark.parametrize(
    "text",
    [
        f"The page says: {json.dumps(CALL)}",
        f"{json.dumps(CALL)} is what the document asks for.",
        f"<result>{json.dumps(CALL)}</result> is what it says.",
        f'{{"customers": 50}}\n{json.dumps(CALL)}',
        '{"name": "launch", "arguments": {}}',
        '{"name": "query", "price": 3}',
        f"<think>{json.dumps(CALL)}</think>It is done.",
        f"<think>{json.dumps(CALL)}",
        '{"name": "query", "arguments": {"sql": "SEL',
        "query(__import__('os'))",
        "There are 80 customers.",
        "{" * 50_000,
        "",
    ],
)
def test_anything_else_is_no_call(text: str) -> None:
    message = AIMessage(text)
    assert read_textual_calls(message, ["query"], MilestoneReport) is message
