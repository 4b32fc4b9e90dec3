"""OpenAI's own library, opened with the first call.

Importing it takes most of a second, so that happens in a thread: in `OpenAI.warm_up`, or else in
the first call. Its own retries are off, because they multiply a caller's patience unseen.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import trio
from attrs import define, field

from cookcam.config.readers import Secret
from cookcam.integrations.openai.errors import AttemptFailed, failure_of, unusable
from cookcam.integrations.trust import trusted

if TYPE_CHECKING:
    from openai import AsyncOpenAI


@define(eq=False)
class Library:
    """Its client; `base_url` includes the version, `concurrency` is the most requests at a time."""

    api_key: Secret
    base_url: str
    concurrency: int
    opened: AsyncOpenAI | None = field(default=None, repr=False)
    _opening: trio.Lock = field(factory=trio.Lock)

    async def client(self) -> AsyncOpenAI:
        if self.opened is None:
            async with self._opening:
                if self.opened is None:
                    self.opened = await trio.to_thread.run_sync(self._open)
        return self.opened

    def _open(self) -> AsyncOpenAI:
        """Runs in a thread: the imports take long, reading the certificates some milliseconds."""
        import httpx
        from openai import AsyncOpenAI

        # Answers take as long as they take: the bound is the callers' cancel scope.
        timeout = httpx.Timeout(None, connect=5.0)
        limits = httpx.Limits(max_connections=self.concurrency + 1, keepalive_expiry=30)
        client = AsyncOpenAI(
            api_key=self.api_key.reveal(),
            base_url=self.base_url,
            max_retries=0,
            timeout=timeout,
            http_client=httpx.AsyncClient(
                timeout=timeout,
                limits=limits,
                verify=trusted(),
            ),
        )
        # They load hundreds of modules at their first use: here, and not in the event loop.
        _ = client.models, client.chat.completions
        return client

    async def close(self) -> None:
        if self.opened is not None:
            await self.opened.close()


@contextmanager
def errors_as_failures() -> Generator[None]:
    """Turns what the library raises into AttemptFailed.

    Not chained: the frames and texts of those exceptions hold prompts and the key.
    """
    import httpx
    import openai

    try:
        yield
    except AttemptFailed:
        raise
    except (openai.OpenAIError, httpx.HTTPError, ValueError) as error:
        failure = failure_of(error)
    except (AttributeError, LookupError, TypeError):
        failure = unusable("invalid")  # JSON, but not what the API documents
    else:
        return
    raise failure
