"""Settings of the fake Supabase services that may be changed while they run."""

from __future__ import annotations

from attrs import define

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


@define
class Behaviour(ProjectBehaviour):
    """Settings of Auth; times are in seconds.

    A refresh token may be used again within `reuse_interval` of its first use, as Supabase's
    default of 10 s allows; later use ends the session.
    """

    confirm_email: bool = False
    token_lifetime: int = 3600
    reuse_interval: float = 10.0
