"""What a test, or a curious developer, may change about the stand-in while it runs."""

from __future__ import annotations

from attrs import define


@define
class Failure:
    """Answers with an error `status` (500, 429, 503, ...) in place of the real answer.

    `times` requests fail (None: all). A `late` failure does the work first and then loses the
    answer, as a gateway timeout does.
    """

    status: int
    times: int | None = None
    late: bool = False


@define
class Behaviour:
    """Settings of the stand-in; times are in seconds.

    A refresh token may be used again within `reuse_interval` of its first use, as Supabase's
    default of 10 s allows; later use ends the session.
    """

    delay: float = 0.0
    failure: Failure | None = None
    confirm_email: bool = False
    token_lifetime: int = 3600
    reuse_interval: float = 10.0

    def take_failure(self) -> Failure | None:
        """The failure the next answer has to be, counted down."""
        failure = self.failure
        if failure is None or failure.times is None:
            return failure
        failure.times -= 1
        if failure.times <= 0:
            self.failure = None
        return failure
