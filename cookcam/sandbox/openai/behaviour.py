"""Settings of the fake OpenAI that may be changed while it runs."""

from __future__ import annotations

from typing import Literal

from attrs import define

FaultKind = Literal[
    "status",  # an error `status` (429, 500, 503, ...), with `retry_after` seconds if given
    "hang",  # no response, ever
    "garbage",  # content that is not JSON
    "wrong_shape",  # JSON that is not of the schema
    "wrong_count",  # one element too few in the first list
    "empty",  # empty lists wherever the schema allows them: no food on the photograph
    "refusal",  # the model declines
    "truncated",  # the content stops in the middle, as at max_completion_tokens
    "filtered",  # the same, stopped by the content filter
    "cut",  # the connection closes in the middle of the response
]


@define
class Fault:
    """A fault of the next `times` completion requests (None: all)."""

    kind: FaultKind
    times: int | None = None
    status: int = 500
    code: str | None = None
    retry_after: float | None = None


@define
class Behaviour:
    """Times are in seconds. Each response starts after `delay`.

    A stream sends `chunk_size` characters at a time, with `chunk_delay` between two.
    """

    delay: float = 0.0
    chunk_delay: float = 0.0
    chunk_size: int = 16
    fault: Fault | None = None
