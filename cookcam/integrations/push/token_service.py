"""Base of the push services that take one message a request, with a bearer token."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from attrs import define

from cookcam.integrations.bearer_tokens import BearerTokens
from cookcam.integrations.provider_calls import ProviderCallPolicy, ProviderHttpClient
from cookcam.integrations.push.models import SENT, PushMessage, PushResult

if TYPE_CHECKING:
    import httpx


@define(eq=False)
class TokenPushService(ABC):
    """`PushService` says what `send` raises."""

    max_batch: ClassVar[int] = 1
    provider: ClassVar[str]

    calls: ProviderCallPolicy
    http: ProviderHttpClient
    tokens: BearerTokens

    async def send(self, messages: Sequence[PushMessage]) -> Sequence[PushResult]:
        (message,) = messages

        async def once() -> PushResult:
            response = await self.tokens.send(
                lambda token: self.request(message, token), self.is_token_rejected
            )
            return SENT if response.status_code == 200 else self.rejected(response)

        return [await self.calls.within(lambda: self.calls.call(once), self.provider)]

    @abstractmethod
    async def request(self, message: PushMessage, token: str) -> httpx.Response: ...

    @abstractmethod
    def is_token_rejected(self, response: httpx.Response) -> bool:
        """Whether to repeat the request with a new token."""

    @abstractmethod
    def rejected(self, response: httpx.Response) -> PushResult:
        """The result of a response that is not a 200.

        Raises ProviderMisconfigured for errors of our key or settings.
        """
