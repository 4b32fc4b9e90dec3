"""Settings of the fake Supabase services that may be changed while they run."""

from __future__ import annotations

from collections.abc import Callable

import trio
from attrs import define
from quart import Response, request
from quart_trio import QuartTrio

from cookcam.sandbox.serving import Failure, count_down


@define
class ProjectBehaviour:
    """A `delay` in seconds before each response, and a `failure` in place of responses."""

    delay: float = 0.0
    failure: Failure | None = None

    def take_failure(self, *, late: bool) -> int | None:
        """The status with which the current request has to fail; counts the failure down."""
        failure = self.failure
        if failure is None or failure.late is not late:
            return None
        self.failure = count_down(failure)
        return failure.status

    def apply_to(self, app: QuartTrio, base: str, rejection: Callable[[int], Response]) -> None:
        """Delay the responses below `base`; replace them by `rejection` while they have to fail."""

        @app.before_request
        async def wait_or_fail() -> Response | None:
            if not request.path.startswith(base):
                return None
            if self.delay:
                await trio.sleep(self.delay)
            status = self.take_failure(late=False)
            if status is None:
                return None
            await request.get_data()  # or the next request on this connection waits behind it
            return rejection(status)

        @app.after_request
        async def lose_response(response: Response) -> Response:
            if not request.path.startswith(base) or response.status_code >= 400:
                return response
            status = self.take_failure(late=True)
            return response if status is None else rejection(status)


@define
class Behaviour(ProjectBehaviour):
    """Settings of Auth; times are in seconds.

    A refresh token may be used again within `reuse_interval` of its first use, as Supabase's
    default of 10 s allows; later use ends the session.
    """

    confirm_email: bool = False
    token_lifetime: int = 3600
    reuse_interval: float = 10.0
