"""Structured answers of OpenAI's chat completions, whole or while they are being written.

| module   | idea                                                        |
|----------|-------------------------------------------------------------|
| client   | `OpenAI`: what is asked, and what is asked again            |
| events   | what a stream gives                                         |
| question | one call: its messages, the shape of its answer             |
| asking   | one request: the answer as a whole, or piece by piece       |
| library  | OpenAI's library, opened with the first call                |
| items    | elements of a list that is still being written              |
| prompts  | what people wrote, as data                                  |
| usage    | tokens, and what they cost                                  |
| errors   | OpenAI's failures as errors of ours                         |
"""

from cookcam.integrations.openai.client import OpenAI
from cookcam.integrations.openai.errors import ModelOutOfTime, UnusableReply
from cookcam.integrations.openai.events import Event, Finished, Item, Progress, Restarted

__all__ = [
    "Event",
    "Finished",
    "Item",
    "ModelOutOfTime",
    "OpenAI",
    "Progress",
    "Restarted",
    "UnusableReply",
]
