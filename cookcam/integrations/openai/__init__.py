"""Client of OpenAI's chat completions with structured output, whole or streamed.

| module      | content                                                       |
|-------------|---------------------------------------------------------------|
| client      | `OpenAI`: deadline and retry of a call                        |
| completions | one request: body, completion, stream events                  |
| json_schema | JSON schemas from attrs classes, and values of these classes  |
| library     | OpenAI's library, imported and opened by the first call       |
| items       | finds complete list elements in partial JSON                  |
| prompts     | puts user input into a prompt as data                         |
| usage       | metrics: requests, tokens, cost                               |
| errors      | maps OpenAI's failures to AppErrors                           |
"""

from cookcam.integrations.openai.client import OpenAI
from cookcam.integrations.openai.completions import Event, Finished, Item, Progress, Restarted
from cookcam.integrations.openai.errors import ModelTimeout, UnusableCompletion

__all__ = [
    "Event",
    "Finished",
    "Item",
    "ModelTimeout",
    "OpenAI",
    "Progress",
    "Restarted",
    "UnusableCompletion",
]
