"""How a filled-in schema is read off whatever a model sends."""

import gc
import json
import threading
from collections.abc import Generator
from typing import Any, Literal

import pytest
from langchain_core.exceptions import ContextOverflowError
from langchain_core.language_models import GenericFakeChatModel, ModelProfile
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from plan_execute.agent.context import Context
from plan_execute.agent.errors import ModelError
from plan_execute.agent.llm import structured_output as question
from plan_execute.agent.llm.calls import Call
from plan_execute.agent.llm.parsing import Reply
from plan_execute.agent.llm.structured_output import Dialogue, Method, Question, aask, ask, describe_no_reply
from plan_execute.agent.llm.usage import measured
from plan_execute.agent.schemas import Synthesis
from plan_execute.agent.state import Spent
from tests.fakes import Answer, Asked, ScriptedModel, tool_call

FILLED = {"answer": "42", "requirements": []}


def once(model: ScriptedModel) -> Generator[Question, Reply, Reply]:
    return (yield Question(model, [HumanMessage("How many?")], Synthesis))


def put(asked: Question) -> Generator[Question, Reply, Reply]:
    return (yield asked)


class RejectedError(Exception):
    """What a server answers to a request it does not take."""

    def __init__(self, status_code: int, said: str = "") -> None:
        super().__init__(said or f"status {status_code}")
        self.status_code = status_code


@pytest.mark.parametrize(
    "said",
    [
        tool_call("Synthesis", FILLED),
        AIMessage('{"answer": "42", "requirements": []}'),
        AIMessage('Here it is:\n```json\n{"answer": "42", "requirements": []}\n```\nHope it helps.'),
        AIMessage('{"answer": "42", "requirements": ['),
        AIMessage('{"name": "Synthesis", "arguments": {"answer": "42", "requirements": []}}'),
        AIMessage('Of the form {x}: {"answer": "42", "requirements": []} {"x": 1}'),
        AIMessage("{'answer': '42', 'requirements': None,}"),
        tool_call("launch", {"rocket": 1}, ("Synthesis", FILLED)),
        AIMessage(
            "",
            invalid_tool_calls=[
                {"name": "Synthesis", "args": '{"answer": 42, "requirements": [],', "id": "1", "error": None}
            ],
        ),
        AIMessage('{"answer": "42", "requirements": []}  ', response_metadata={"finish_reason": "length"}),
        tool_call("functions.synthesis", FILLED),
        tool_call("Synthesis", {"result": {"Synthesis": FILLED}}),
        AIMessage(json.dumps({"result": {"Synthesis": FILLED}})),
    ],
    ids=[
        "tool call",
        "JSON",
        "fenced JSON",
        "JSON without its end",
        "call written as text",
        "JSON among other braces",
        "Python",
        "second of two calls",
        "broken arguments",
        "JSON cut off after its end",
        "tool call under a name much like it",
        "two wrappers in a tool call",
        "two wrappers in text",
    ],
)
async def test_schema_is_found_in(said: AIMessage) -> None:
    for reply in (ask(once(ScriptedModel([said]))), await aask(once(ScriptedModel([said])))):
        assert reply.data is not None
        assert Synthesis.model_validate(reply.data).answer == "42"


@pytest.mark.parametrize(
    ("said", "objection"),
    [
        (AIMessage("I would rather not."), "no complete JSON"),
        (AIMessage(""), "no complete JSON"),
        (AIMessage("{}"), "no complete JSON"),
        (AIMessage("{{{"), "no complete JSON"),
        (AIMessage("null"), "no complete JSON"),
        (AIMessage('{"colour": "blue"}'), "no complete JSON"),
        (AIMessage('{"answer": "It is 4'), "no complete JSON"),
        (tool_call("launch", {"rocket": 1}), "calls 'launch' instead of filling in the schema 'Synthesis'"),
        (tool_call("launch", FILLED), "calls 'launch' instead of filling in the schema 'Synthesis'"),
        (tool_call("launch", {"args": FILLED}), "calls 'launch' instead"),
        (tool_call("Synthesis", {"rocket": 1}), "calls 'Synthesis' with no field of that schema"),
        (AIMessage(json.dumps({"name": "launch", "arguments": FILLED})), "no complete JSON"),
        (AIMessage(json.dumps({"function": {"tool": "launch", "args": FILLED}})), "no complete JSON"),
        (AIMessage('{"answer": "4", "requ', response_metadata={"finish_reason": "length"}), "truncated (length)"),
        (AIMessage('{"answer": "4"', response_metadata={"stop_reason": "max_tokens"}), "truncated (max_tokens)"),
        (AIMessage('{"answer": "4"', response_metadata={"finish_reason": "MAX_TOKENS"}), "truncated (max_tokens)"),
        (AIMessage('{"answer": "4"', response_metadata={"stopReason": "max_tokens"}), "truncated (max_tokens)"),
        (
            AIMessage('{"answer": "4"', response_metadata={"incomplete_details": {"reason": "max_output_tokens"}}),
            "truncated (max_output_tokens)",
        ),
        (
            AIMessage(json.dumps(FILLED)[:-1], response_metadata={"finish_reason": "content_filter"}),
            "refusal: the provider stopped the reply (content_filter)",
        ),
        (AIMessage("", additional_kwargs={"refusal": "That is not nice."}), "refusal: That is not nice."),
    ],
)
async def test_reply_without_the_schema_gives_no_data_but_an_objection(said: AIMessage, objection: str) -> None:
    for reply in (ask(once(ScriptedModel([said]))), await aask(once(ScriptedModel([said])))):
        assert (reply.data, reply.error) == (None, None)
        assert objection in reply.objection


def test_objection_to_a_cut_off_reply_leaves_the_advice_apart() -> None:
    said = AIMessage('{"answer": "4', response_metadata={"finish_reason": "length"})
    reply = ask(once(ScriptedModel([said])))
    assert (reply.objection, reply.advice) == ("It was truncated (length).", "Be brief.")


def test_what_was_said_can_be_quoted_whatever_form_it_had() -> None:
    refusal = AIMessage("", additional_kwargs={"refusal": "No."})
    broken = AIMessage("", invalid_tool_calls=[{"name": "Synthesis", "args": "{broken", "id": "1", "error": None}])
    said = [AIMessage("Prose."), tool_call("launch", {"rocket": 1}), broken, refusal, AIMessage("")]
    quoted = [ask(once(ScriptedModel([message]))).text for message in said]
    assert quoted == ["Prose.", '{"rocket": 1}', "{broken", "No.", ""]


@pytest.mark.parametrize(
    ("profile", "method", "tools"),
    [
        (None, "auto", ["Synthesis"]),
        ({}, "auto", ["Synthesis"]),
        ({"tool_calling": True}, "auto", ["Synthesis"]),
        ({"tool_calling": False}, "auto", []),
        ({"tool_calling": False}, "function_calling", ["Synthesis"]),
        ({"tool_calling": True}, "prompt", []),
    ],
)
def test_form_of_asking_follows_the_profile_unless_it_is_set(
    profile: ModelProfile | None, method: Method | Literal["auto"], tools: list[str]
) -> None:
    model = ScriptedModel([json.dumps(FILLED)], profile=profile)
    reply = ask(put(Question(model, [SystemMessage("Be good."), HumanMessage("?")], Synthesis, method=method)))
    assert reply.data == FILLED
    assert model.asked[0].tools == tools
    assert model.asked[0].messages[0].text.startswith("Be good.")
    assert ("Answer with one JSON object" in model.asked[0].text) == (not tools)


def test_model_that_cannot_bind_tools_is_asked_in_words() -> None:
    model = GenericFakeChatModel(messages=iter([AIMessage(json.dumps(FILLED))]))
    assert ask(put(Question(model, [HumanMessage("?")], Synthesis))).data == FILLED


@pytest.mark.parametrize("status", [400, 422, 501])
def test_form_that_the_server_rejects_gives_way_to_the_next(status: int) -> None:
    model = ScriptedModel(lambda asked: RejectedError(status) if asked.tools else json.dumps(FILLED))
    assert ask(once(model)).data == FILLED
    assert [asked.tools for asked in model.asked] == [["Synthesis"], []]


@pytest.mark.parametrize(
    ("error", "tools"),
    [
        (RejectedError(404, "No endpoints found that support tool use."), [["Synthesis"], []]),
        (RejectedError(400, "any does not support tools"), [["Synthesis"], []]),
        (RejectedError(400, "API key not valid. Please pass a valid API key."), [["Synthesis"]]),
    ],
)
def test_words_tell_whether_the_form_was_rejected(error: Exception, tools: list[list[str]]) -> None:
    model = ScriptedModel(lambda asked: error if asked.tools else json.dumps(FILLED))
    assert (ask(once(model)).data is None) == (len(tools) == 1)
    assert [asked.tools for asked in model.asked] == tools


def twice(model: ScriptedModel) -> Generator[Question, Reply, Reply]:
    yield from once(model)
    return (yield from once(model))


async def test_refused_form_is_not_paid_for_again_by_later_dialogues() -> None:
    model = ScriptedModel(lambda asked: RejectedError(400) if asked.tools else json.dumps(FILLED))
    for _ in range(2):
        assert ask(twice(model)).data == (await aask(twice(model))).data == FILLED
    assert [bool(asked.tools) for asked in model.asked] == [True] + [False] * 8
    other = ScriptedModel([json.dumps(FILLED)])
    ask(once(other))
    assert other.asked[0].tools == ["Synthesis"]


def test_refusal_is_not_laid_to_the_form_when_no_other_is_taken() -> None:
    answers: list[Answer] = [*[RejectedError(400)] * 3, json.dumps(FILLED)]
    model = ScriptedModel(lambda asked: answers.pop(0) if answers else json.dumps(FILLED))
    assert ask(twice(model)).data is None
    assert ask(twice(model)).data == FILLED
    assert [bool(asked.tools) for asked in model.asked] == [True, False, False, True, True]


def test_what_is_remembered_of_a_model_goes_with_it() -> None:
    model = ScriptedModel(lambda asked: RejectedError(400) if asked.tools else json.dumps(FILLED))
    ask(once(model))
    key = id(model)
    assert question._refused[key] == {"function_calling"}
    del model
    gc.collect()
    assert key not in question._refused


def test_refused_form_is_no_call() -> None:
    model = ScriptedModel(lambda asked: RejectedError(400) if asked.tools else json.dumps(FILLED))
    spent = Spent(usage={}, seconds=0.0)
    ask(measured("planner", Context(), once(model), spent))
    assert (len(model.asked), spent["usage"]["planner"]["calls"]) == (2, 1)


@pytest.mark.parametrize("status", [401, 404, 429, 500])
def test_other_errors_are_no_matter_of_form(status: int) -> None:
    model = ScriptedModel([RejectedError(status)])
    assert isinstance(ask(once(model)).error, RejectedError)
    assert len(model.asked) == 1


async def test_no_reply_is_waited_for_longer_than_the_question_says() -> None:
    goes_on = threading.Event()

    def answer(asked: Asked) -> dict[str, Any]:
        goes_on.wait(60)
        return FILLED

    model = ScriptedModel(answer)
    hurried, patient = (Question(model, [HumanMessage("?")], Synthesis, seconds=seconds) for seconds in (0.1, 60))
    assert isinstance(ask(put(hurried)).error, TimeoutError)
    assert not goes_on.is_set()
    goes_on.set()
    assert ask(put(patient)).data == FILLED


async def test_what_a_model_raises_comes_back_as_the_reply() -> None:
    for reply in (ask(once(ScriptedModel([ValueError("no")]))), await aask(once(ScriptedModel([ValueError("no")])))):
        assert isinstance(reply.error, ValueError)


def test_every_question_of_a_dialogue_is_counted() -> None:
    model = ScriptedModel([FILLED])

    def twice() -> Generator[Question, Reply, str]:
        yield from once(model)
        reply = yield from once(model)
        return str(reply.data)

    spent = Spent(usage={}, seconds=0.0)
    ask(measured("planner", Context(), twice(), spent))
    assert spent["usage"]["planner"]["calls"] == 2
    assert spent["usage"]["planner"]["input_tokens"] == 20
    assert spent["usage"]["planner"]["models"]["ScriptedModel"]["output_tokens"] == 10


def test_parsed_data_counts_where_the_raw_reply_is_empty_but_not_in_place_of_a_cut_off_one() -> None:
    class Parsing(ScriptedModel):
        """Gives what was parsed beside the raw reply."""

        def __init__(self, raw: str) -> None:
            super().__init__([])
            self._script = raw

        def with_structured_output(self, schema: Any, **kwargs: Any) -> Any:
            return RunnableLambda(lambda _: {"raw": AIMessage(self._script), "parsed": FILLED, "parsing_error": None})

    assert ask(once(Parsing(""))).data == FILLED
    assert ask(once(Parsing('{"answer": "4'))).data is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionError("down"), "The planner cannot be reached at http://127.0.0.1:9/v1/: ConnectionError: down"),
        (
            RejectedError(400),
            "The planner does not accept the request at http://127.0.0.1:9/v1/: RejectedError: status 400",
        ),
        (ContextOverflowError("9 > 8"), "The planner's prompt is too long for its model: ContextOverflowError: 9 > 8"),
    ],
)
def test_silence_is_explained_with_the_address_but_no_password(error: Exception, said: str) -> None:
    model = ChatOpenAI(model="m", base_url="http://me:secret@127.0.0.1:9/v1", api_key=SecretStr("x"))
    assert describe_no_reply("planner", model, error) == said


def test_model_without_an_address_has_none_in_the_explanation() -> None:
    said = describe_no_reply("synthesizer", ScriptedModel([]), ConnectionError("down"))
    assert said == "The synthesizer cannot be reached: ConnectionError: down"


async def test_what_a_call_raises_is_raised_in_the_dialogue_that_made_it() -> None:
    def load() -> None:
        raise ModelError("no such model")

    def dialogue() -> Dialogue[str]:
        try:
            yield Call(load)
        except ModelError as error:
            return str(error)
        return "loaded"

    def counted() -> Dialogue[str]:
        return measured("planner", Context(), dialogue(), Spent(usage={}, seconds=0.0))

    assert ask(counted()) == await aask(counted()) == "no such model"


def test_nobody_waits_after_the_last_failure() -> None:
    driven = question._steps(once(ScriptedModel([])), None)
    assert isinstance(next(driven), Call)
    with pytest.raises(StopIteration):
        driven.throw(RejectedError(429))
