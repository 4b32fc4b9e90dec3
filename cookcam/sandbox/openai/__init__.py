"""A stand-in for OpenAI that speaks the API's wire protocol and knows some food.

    async with open_openai() as stand_in:
        client = AsyncOpenAI(base_url=stand_in.url, api_key=stand_in.key)

It serves chat completions with strict structured output, whole or streamed, images as data URLs,
and the list of models. Answers come from a small table of foods, the ingredients in the prompt and
the JSON schema of the request: the same request gets the same answer. Source of the protocol:
OpenAI's API reference as the `openai` library uses it, and `spec/http-api-core.md` §14.
"""

from cookcam.sandbox.openai.behaviour import Behaviour, Fault
from cookcam.sandbox.openai.server import FakeOpenAI, Received, open_openai

__all__ = ["Behaviour", "FakeOpenAI", "Fault", "Received", "open_openai"]
