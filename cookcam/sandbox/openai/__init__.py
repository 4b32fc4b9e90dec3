"""A fake OpenAI: chat completions with strict structured output, whole or streamed.

    async with open_openai() as fake:
        client = AsyncOpenAI(base_url=fake.url, api_key=fake.key)

It takes images as data URLs and serves the list of models. Its answers are fixtures filled in from
the ingredients in the prompt and the JSON schema of the request: the same request gets the same
answer. Source of the protocol: OpenAI's API reference as the `openai` library uses it.
"""

from cookcam.sandbox.openai.behaviour import Behaviour, Fault
from cookcam.sandbox.openai.server import FakeOpenAI, Received, open_openai

__all__ = ["Behaviour", "FakeOpenAI", "Fault", "Received", "open_openai"]
