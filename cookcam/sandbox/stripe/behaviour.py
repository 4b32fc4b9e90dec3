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
    """Something that goes wrong with the next `times` requests (None: all) to the API.

    A `late` fault does the work first and then loses the answer. `path` limits it to requests
    whose path begins so, for instance "/v1/transfers".
    """

    kind: FaultKind
    times: int | None = None
    status: int = 500
    retry_after: float | None = None
    late: bool = False
    path: str = "/v1/"


@define
class DeliverySettings:
    """How events travel; changing it concerns what is sent from then on.

    Up to `lanes` deliveries are under way at a time: with 1, events leave in the order in which
    they happened. Each is delivered `copies` times. While `hold` is on, they wait; `release` of
    the fake lets them go. The next `drop` are lost. A delivery that is not answered with 2xx
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
    """Settings of the fake. Each answer starts after `delay` seconds.

    `balance_cents` is what the platform can transfer; None: any amount.
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
