"""The services whose rules are written down here."""

from tests.wires.anthropic_rules import Anthropic
from tests.wires.bedrock_rules import Bedrock
from tests.wires.gemini_rules import Gemini
from tests.wires.mistral_rules import Mistral
from tests.wires.ollama_rules import Ollama
from tests.wires.openai_rules import OpenAIChat
from tests.wires.responses_rules import OpenAIResponses
from tests.wires.serving import Service

SERVICES: tuple[Service, ...] = (
    Anthropic(),
    Bedrock(),
    OpenAIChat(),
    OpenAIResponses(),
    Gemini(),
    Mistral(),
    Ollama(),
)
