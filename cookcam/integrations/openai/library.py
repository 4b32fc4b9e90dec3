"""Lazily opened client of OpenAI's own library.

The import takes most of a second, so it runs in a thread: in `OpenAI.warm_up` or in the first call.
The library's own retries are disabled: `OpenAI` retries, within the caller's deadline.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from attrs import Factory, define, field

from cookcam.config.readers import Secret
from cookcam.integrations.http_client import Lazy, send_traceparent
from cookcam.integrations.openai.errors import AttemptFailed, attempt_failure, unusable
from cookcam.integrations.trust import trusted

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@define(eq=False)
class Library:
    """Opens the library's client once; `base_url` includes the version of the API."""

    api_key: Secret
    base_url: str
    concurrency: int
    _opened: Lazy[AsyncOpenAI] = field(
        default=Factory(lambda library: Lazy(library._open), takes_self=True), init=False
    )

    async def client(self) -> AsyncOpenAI:
        return await self._opened.get()

    def _open(self) -> AsyncOpenAI:
        """Import the library and build its client. Blocks, so it runs in a thread."""
        import httpx
        from openai import AsyncOpenAI

        # No read timeout: the callers' cancel scopes limit the duration.
        timeout = httpx.Timeout(None, connect=5.0)
        limits = httpx.Limits(max_connections=self.concurrency + 1, keepalive_expiry=30)
        client = AsyncOpenAI(
            api_key=self.api_key.reveal(),
            base_url=self.base_url,
            max_retries=0,
            timeout=timeout,
            http_client=httpx.AsyncClient(
                event_hooks={"request": [send_traceparent]},
                timeout=timeout,
                limits=limits,
                verify=trusted(),
            ),
        )
        # The first access imports hundreds of modules; do it in this thread, not in the event loop.
        _ = client.models, client.chat.completions
        return client

    async def close(self) -> None:
        if self._opened.created is not None:
            await self._opened.created.close()


@contextmanager
def errors_as_failures() -> Generator[None]:
    """Convert the library's exceptions to AttemptFailed.

    Not chained: the frames and messages of those exceptions contain prompts and the key.
    """
    import httpx
    import openai

    try:
        yield
    except AttemptFailed:
        raise
    except (openai.OpenAIError, httpx.HTTPError, ValueError) as error:
        failure = attempt_failure(error)
    except (AttributeError, LookupError, TypeError):
        failure = unusable("invalid")  # JSON that does not follow the documented API
    else:
        return
    raise failure
