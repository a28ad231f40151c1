"""Attachments: what a request has beside its text, such as pictures and files, and which model takes what."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, cast

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AnyMessage, ContentBlock, HumanMessage
from typing_extensions import TypedDict

KINDS: Mapping[str, tuple[str, str]] = {
    "image": ("picture", "image_inputs"),
    "audio": ("recording", "audio_inputs"),
    "video": ("video", "video_inputs"),
    "file": ("file", "pdf_inputs"),
}
"""What a content block of each type is called, and the field of a model's profile that says whether it is taken."""

_CONTENT = frozenset({"url", "base64", "file_id"})
"""Fields of a block with what it holds."""


def attachments_of(messages: Sequence[AnyMessage]) -> list[ContentBlock]:
    """Return what is attached to the request, the last human message, as LangChain's standard content blocks."""
    request = next((message for message in reversed(messages) if isinstance(message, HumanMessage)), None)
    blocks = request.content_blocks if request else []
    return [block for block in blocks if block["type"] in KINDS and block.keys() & _CONTENT]


class Attached(TypedDict):
    """What a model is given of the attachments, for its prompt."""

    attached: list[dict[str, Any]]
    """The content blocks that it takes."""
    not_taken: str
    """How many of which kind it does not take; empty for none."""


def attached_for(model: BaseChatModel, messages: Sequence[AnyMessage]) -> Attached:
    """Divide the attachments of a request by what a model takes; one whose profile does not say so takes none."""
    profile, attachments = cast("Mapping[str, Any]", model.profile or {}), attachments_of(messages)
    urls = profile.get("image_url_inputs", True)
    taken = [b for b in attachments if profile.get(KINDS[b["type"]][1]) and (urls or not b.get("url"))]
    rest = [block for block in attachments if block not in taken]
    return Attached(attached=[dict(block) for block in taken], not_taken=count_attachments(rest))


def count_attachments(attachments: Sequence[ContentBlock]) -> str:
    """Say how many attachments of which kind there are, such as "1 picture and 2 files"; empty for none."""
    counted = Counter(KINDS[block["type"]][0] for block in attachments)
    return " and ".join(f"{number} {kind}{'s' if number > 1 else ''}" for kind, number in counted.items())
