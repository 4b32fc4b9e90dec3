"""Settings that may be changed while the fake runs."""

from __future__ import annotations

from typing import Final, Literal, get_args

from attrs import define, field

from cookcam.sandbox.serving import count_down

FaultKind = Literal[
    "status",  # an error `status` (429, 500, 503, ...), with `retry_after` seconds if given
    "hang",  # no answer, ever
    "garbage",  # an answer that is not JSON
    "cut",  # the connection closes in the middle of the answer
]

Card = Literal["success", "decline", "insufficient_funds", "expired"]
"""How the bank answers when a customer's card is charged."""

CARDS: Final[tuple[Card, ...]] = get_args(Card)

DAY: Final = 86_400


@define
class Fault:
    """A fault of the next `times` requests (None: all) to the API.

    With a `late` fault the request is executed, and its response is lost. `path` limits it to
    requests whose path begins so, for instance "/v1/transfers".
    """

    kind: FaultKind
    times: int | None = None
    status: int = 500
    retry_after: float | None = None
    late: bool = False
    path: str = "/v1/"


@define
class DeliverySettings:
    """Settings of the delivery of events; changes apply to events sent afterwards.

    Up to `lanes` deliveries run at a time: with 1, events are sent in the order in which they
    happened. Each is delivered `copies` times. While `hold` is on, they wait; `release` of the
    fake sends them. The next `drop` events are lost. A delivery without a 2xx response
    within `timeout` seconds is repeated after each of `retries` seconds.
    """

    hold: bool = False
    copies: int = 1
    delay: float = 0.0
    drop: int = 0
    lanes: int = 1
    timeout: float = 10.0
    retries: list[float] = field(factory=lambda: [0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0])


@define
class Billing:
    """The settings of an account under "Subscriptions and emails", in simulated seconds.

    An invoice of a renewal stays a draft for `draft`; a failed payment is tried again after each
    of `retries`, then the subscription becomes `after_retries`.
    """

    draft: int = 3_600
    retries: list[int] = field(factory=lambda: [3 * DAY, 5 * DAY, 7 * DAY])
    after_retries: Literal["canceled", "unpaid", "past_due"] = "canceled"


@define
class Behaviour:
    """Settings of the fake. Each response starts after `delay` seconds.

    `balance_cents` is the platform's balance for transfers; None: unlimited.
    """

    delay: float = 0.0
    fault: Fault | None = None
    balance_cents: int | None = None
    mail: DeliverySettings = field(factory=DeliverySettings)
    billing: Billing = field(factory=Billing)

    def take_fault(self, path: str) -> Fault | None:
        """The fault of the current request; counts it down."""
        fault = self.fault
        if fault is None or not path.startswith(fault.path):
            return None
        self.fault = count_down(fault)
        return fault
