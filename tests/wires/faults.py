"""What goes wrong at each service, as the service sends it, and what it means."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from plan_execute.agent.codes import FailureCode
from tests.wires.bedrock_rules import event
from tests.wires.services import SERVICES
from tests.wires.serving import Answer, Response, Says, events, plain

SERVICE = {service.name: service for service in SERVICES}


class Fault(NamedTuple):
    """One way in which a service fails."""

    service: str
    what: str
    answer: Answer
    code: FailureCode
    reason: str
    """The service's own words that a person has to read."""
    wait: float | None = None
    """Seconds that it asks to wait."""


def faults() -> Iterator[Fault]:
    """Make every fault of every service."""
    for name, service in SERVICE.items():
        for status, code, message in ERRORS[name]:
            yield Fault(name, f"{status} {message[:30]}", service.error(status, message), code, message)
        for ending, reason in ENDINGS[name].items():
            yield Fault(name, f"ends with {ending}", Says(ending=ending), "refusal", reason)
        for what, code, reason, body, status in BODIES.get(name, ()):
            yield Fault(name, what, plain(body, status), code, reason)
        waits = service.error(429, "Slow down.", retry_after="7")
        yield Fault(name, "429 with a time to wait", waits, "transient", "Slow down.", None if name == "Ollama" else 7)


def stream_faults() -> Iterator[Fault]:
    """Make every fault in answer to a request for a stream, and those that come when it has begun."""
    for fault in faults():
        if not (isinstance(fault.answer, Response) and fault.answer.status == 200):
            yield fault
    for name, rows in STREAMS.items():
        for what, reason, answer in rows:
            yield Fault(name, what, answer, "transient", reason)


Error = tuple[int, FailureCode, str]

ERRORS: Mapping[str, tuple[Error, ...]] = {
    "Anthropic": (
        (
            429,
            "transient",
            "This request would exceed your organization's rate limit of 40,000 input tokens per minute.",
        ),
        (500, "transient", "Internal server error"),
        (529, "transient", "Overloaded"),
        (401, "model_unavailable", "invalid x-api-key"),
        (403, "model_unavailable", "Your API key does not have permission to use the specified resource."),
        (404, "model_unavailable", "model: claude-nine"),
        (400, "model_unavailable", "Your credit balance is too low to access the Anthropic API."),
        (413, "limit", "Request exceeds the maximum size"),
        (400, "limit", "prompt is too long: 210000 tokens > 200000 maximum"),
        (400, "limit", "input length and `max_tokens` exceed context limit: 190000 + 20000 > 200000"),
        (400, "refusal", "Output blocked by content filtering policy"),
    ),
    "Bedrock Converse": (
        (429, "transient", "Too many requests, please wait before trying again."),
        (500, "transient", "The system encountered an unexpected error during processing. Try your request again."),
        (503, "transient", "Bedrock is unable to process your request."),
        (408, "transient", "Model has timed out in processing the request. Try your request again."),
        (424, "transient", "The system encountered an unexpected error during model processing. Try again."),
        (401, "model_unavailable", "The security token included in the request is invalid."),
        (403, "model_unavailable", "You don't have access to the model with the specified model ID."),
        (404, "model_unavailable", "This model version has reached the end of its life."),
        (400, "model_unavailable", "The provided model identifier is invalid."),
        (400, "model_unavailable", "This model doesn't support tool use."),
        (400, "limit", "Input is too long for requested model."),
        (400, "limit", "The model returned the following errors: prompt is too long: 9 tokens > 5 maximum"),
    ),
    "OpenAI chat": (
        (429, "transient", "Rate limit reached for gpt-4.1 on tokens per min (TPM): Limit 30000, Used 29000."),
        (500, "transient", "The server had an error while processing your request. Sorry about that!"),
        (503, "transient", "The engine is currently overloaded, please try again later."),
        (401, "model_unavailable", "Incorrect API key provided: sk-none."),
        (403, "model_unavailable", "Country, region, or territory not supported"),
        (404, "model_unavailable", "The model `gpt-nine` does not exist or you do not have access to it."),
        (
            400,
            "model_unavailable",
            '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
        ),
        (
            400,
            "limit",
            "This model's maximum context length is 9 tokens. However, your messages resulted in 12 tokens.",
        ),
        (400, "limit", "Your input exceeds the context window of this model."),
    ),
    "OpenAI Responses": (
        (429, "transient", "Rate limit reached for gpt-4.1 on requests per min (RPM): Limit 3, Used 3."),
        (500, "transient", "An error occurred while processing your request."),
        (401, "model_unavailable", "Incorrect API key provided: sk-none."),
        (404, "model_unavailable", "The model `gpt-nine` does not exist or you do not have access to it."),
        (400, "limit", "Your input exceeds the context window of this model. Please adjust your input and try again."),
    ),
    "Gemini": (
        (429, "transient", "You exceeded your current quota, please check your plan and billing details."),
        (500, "transient", "An internal error has occurred. Please retry."),
        (503, "transient", "The model is overloaded. Please try again later."),
        (504, "transient", "The request timed out. Please try again."),
        (400, "model_unavailable", "API key not valid. Please pass a valid API key."),
        (400, "model_unavailable", "User location is not supported for the API use."),
        (400, "model_unavailable", "Function calling is not enabled for models/gemma-3-27b-it"),
        (403, "model_unavailable", "Permission denied on resource project."),
        (404, "model_unavailable", "models/gemini-nine is not found for API version v1, or is not supported."),
        (400, "limit", "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."),
    ),
    "Mistral": (
        (429, "transient", "Requests rate limit exceeded"),
        (429, "transient", "Service tier capacity exceeded for this model."),
        (500, "transient", "Service unavailable."),
        (503, "transient", "no healthy upstream"),
        (401, "model_unavailable", "Unauthorized"),
        (403, "model_unavailable", "You cannot access this resource."),
        (400, "model_unavailable", "Invalid model: mistral-nine"),
        (
            400,
            "limit",
            "Prompt contains 40 tokens and 0 draft tokens, too large for model with 32 maximum context length",
        ),
    ),
    "Ollama": (
        (503, "transient", "server busy, please try again. maximum pending requests exceeded"),
        (500, "transient", "llama runner process has terminated: exit status 2"),
        (500, "model_unavailable", "model requires more system memory (5.5 GiB) than is available (3.9 GiB)"),
        (429, "transient", "you've reached your hourly usage limit"),
        (401, "model_unavailable", "unauthorized"),
        (404, "model_unavailable", "model 'qwen9' not found"),
        (400, "model_unavailable", "registry.ollama.ai/library/gemma3:latest does not support tools"),
        (400, "limit", "the input length exceeds the context length"),
    ),
}

ENDINGS: Mapping[str, Mapping[str, str]] = {
    "Anthropic": {"refusal": "refusal"},
    "Bedrock Converse": {"guardrail_intervened": "guardrail_intervened", "content_filtered": "content_filtered"},
    "OpenAI chat": {"content_filter": "content_filter"},
    "OpenAI Responses": {"content_filter": "content_filter"},
    "Gemini": {"SAFETY": "SAFETY", "RECITATION": "RECITATION", "BLOCKED:SAFETY": "SAFETY", "BLOCKED:OTHER": "OTHER"},
    "Mistral": {},
    "Ollama": {},
}
"""The words with which a reply ends that the service or the model refuses, and the word a person reads."""

_UPSTREAM = {
    "message": "Provider returned error",
    "code": 429,
    "metadata": {"raw": "glm is temporarily rate-limited upstream.", "provider_name": "BaseTen"},
}
"""How OpenRouter passes on what a provider behind it said."""
BODIES: Mapping[str, tuple[tuple[str, FailureCode, str, dict[str, Any], int], ...]] = {
    "OpenAI chat": (
        (
            "quota",
            "model_unavailable",
            "exceeded your current quota",
            {
                "error": {
                    "message": "You exceeded your current quota, please check your plan and billing details.",
                    "type": "insufficient_quota",
                    "param": None,
                    "code": "insufficient_quota",
                }
            },
            429,
        ),
        (
            "Azure's filter",
            "refusal",
            "content management policy",
            {
                "error": {
                    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content "
                    "management policy. Please modify your prompt and retry.",
                    "type": None,
                    "param": "prompt",
                    "code": "content_filter",
                    "status": 400,
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
            400,
        ),
        ("LM Studio", "limit", "context length", {"error": "the context length of 9 tokens is too small"}, 400),
        (
            "LM Studio without a model",
            "model_unavailable",
            "No models loaded",
            {"error": {"message": "No models loaded. Please load a model.", "type": "invalid_request_error"}},
            404,
        ),
        ("OpenRouter", "transient", "rate-limited upstream", {"error": _UPSTREAM}, 429),
        ("OpenRouter in a 200", "transient", "rate-limited upstream", {"error": _UPSTREAM}, 200),
        ("a gateway", "transient", "upstream", {"detail": "upstream connect error"}, 503),
    ),
    "OpenAI Responses": (
        (
            "failed response",
            "transient",
            "The server had an error",
            {
                "id": "resp_1",
                "object": "response",
                "created_at": 0,
                "model": "gpt-4.1",
                "status": "failed",
                "error": {"code": "server_error", "message": "The server had an error processing your request."},
                "output": [],
                "parallel_tool_calls": True,
                "tool_choice": "auto",
                "tools": [],
            },
            200,
        ),
        (
            "refusal",
            "refusal",
            "I cannot help with that.",
            {
                "id": "resp_1",
                "object": "response",
                "created_at": 0,
                "model": "gpt-4.1",
                "status": "completed",
                "error": None,
                "output": [
                    {
                        "id": "msg_1",
                        "type": "message",
                        "role": "assistant",
                        "status": "completed",
                        "content": [{"type": "refusal", "refusal": "I cannot help with that."}],
                    }
                ],
                "parallel_tool_calls": True,
                "tool_choice": "auto",
                "tools": [],
            },
            200,
        ),
    ),
}
"""What has a shape of its own: what it is, its class, what a person reads, body, status."""

_FAILED = {**BODIES["OpenAI Responses"][0][3]}
_THROTTLED = event("throttlingException", {"message": "Too many tokens."}, kind="exception")

STREAMS: Mapping[str, tuple[tuple[str, str, Response], ...]] = {
    "Anthropic": (
        (
            "overloaded",
            "Overloaded",
            events(("error", {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})),
        ),
    ),
    "Bedrock Converse": (
        (
            "throttled",
            "Too many tokens.",
            Response(200, _THROTTLED, {"Content-Type": "application/vnd.amazon.eventstream"}),
        ),
    ),
    "OpenAI chat": (
        ("OpenRouter", "rate-limited upstream", events({"error": _UPSTREAM})),
        ("nothing", "No generations", events(end="data: [DONE]\n\n")),
    ),
    "OpenAI Responses": (
        (
            "failed",
            "The server had an error",
            events({"type": "response.failed", "sequence_number": 0, "response": _FAILED}),
        ),
        (
            "error",
            "Slow down.",
            events(
                {
                    "type": "error",
                    "sequence_number": 0,
                    "code": "rate_limit_exceeded",
                    "message": "Slow down.",
                    "param": None,
                }
            ),
        ),
    ),
    "Ollama": (
        ("busy", "server busy", Response(200, json.dumps({"error": "server busy, please try again."}).encode())),
    ),
}
"""What comes in a stream that has begun: what it is, what a person reads, the stream."""
