"""Every route against the OpenAPI document: Schemathesis' checks, with a fixed seed.

No data makes the server fail, no answer has a status or a shape that the document does not have,
what the document calls invalid is refused, what it calls valid is taken, and no route that wants a
token works without one.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

import pytest
import schemathesis
from requests.structures import CaseInsensitiveDict
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    has_only_additional_properties_in_non_body_parameters,
    negative_data_rejection,
    positive_data_acceptance,
    unsupported_method,
)

from cookcam.features.accounts.recovery import service
from tests.contract.background import BackgroundServer, background_server
from tests.features.conftest import ApiUser

SEED = 20260131
EXAMPLES = int(os.environ.get("CONFORMANCE_EXAMPLES", "5"))
"""Of random data, for each route; the boundaries of each schema are tried besides."""

STRICTER: Mapping[str, str] = {
    "POST /analytics/track": "names in its free objects have no NUL",
    "DELETE /auth/account": "the password may be in a header instead",
    "POST /auth/account/receipt": "wants a receipt that we signed",
    "POST /auth/link-referral": "wants a code that is known",
    "POST /auth/profile/photo": "wants a photograph",
    "PUT /auth/profile": "wants one field at least that is not null",
    "PUT /users/profile": "a time zone is one of the IANA names",
    "POST /auth/register": "an address is registered once",
    "POST /auth/reset-password": "a password is limited in bytes",
    "POST /auth/signup": "an address is registered once",
    "GET /gamification/leaderboard": "only the global one has places around the caller",
    "GET /gamification/streak": "a range ends after it begins",
    "POST /gamification/add-xp": "wants an action of the catalogue",
    "GET /ingredients/search": "wants the text under either name",
    "GET /ingredients/usda/search": "wants the text under either name",
    "POST /iap/validate-receipt": "wants a receipt that a store knows",
    "POST /recipes/{recipe_id}/upload-completion-photo": "wants a photograph",
    "POST /scan/analyze": "wants a photograph",
    "POST /scan/ingredients": "wants a photograph",
    "POST /subscription/affiliate/generate": "a slug has its own spelling",
    "POST /subscription/change-tier": "wants a tier that can be bought",
    "POST /subscription/create-checkout": "wants addresses of ours",
    "POST /subscription/creator/payout": "wants an amount that can be paid",
    "POST /subscription/creator/stripe/account-link": "wants addresses of ours",
    "POST /subscription/portal": "wants an address of ours",
    "POST /subscription/recipe/{recipe_id}/tip": "wants a recipe of a creator",
    "POST /subscription/upgrade-to-creator": "wants the tier to have been paid",
    "POST /subscription/validate-purchase": "wants a receipt that a store knows",
    "POST /subscription/verify-android": "wants a token that Google knows",
    "POST /subscription/verify-ios": "wants a receipt that Apple knows",
    "POST /subscription/webhook/apple": "wants what Apple signed",
}
"""Routes that refuse, with 400 or 422, some of what a schema can say is valid, and why."""

EITHER_NAME = ("POST /recipes/generate", "POST /analytics/track")
"""Of two names of the ingredients, and of an event beside a batch, the second is not used where the
first is given."""

UNKNOWN_TIER = "POST /subscription/create-checkout"
"""An unknown tier is a 500, as clients expect: the only 500 that a request can cause."""


@pytest.fixture(scope="module")
def server(
    database_url: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BackgroundServer]:
    with (
        pytest.MonkeyPatch.context() as patch,
        background_server(database_url, tmp_path_factory.mktemp("storage")) as opened,
    ):
        patch.setattr(service, "MIN_RESPONSE_TIME", 0.0)  # nobody measures here
        yield opened


@pytest.fixture(scope="module")
def cora(server: BackgroundServer) -> ApiUser:
    """A creator. Her password is in no example of the document: one of them deletes accounts."""

    async def signed_up() -> ApiUser:
        person = await server.server.person("Cora", password="Another<horse>8")
        await server.server.subscribe(person, "creator")
        return person

    return server.run(signed_up)


@pytest.fixture(scope="module")
def api(server: BackgroundServer) -> schemathesis.BaseSchema:
    schema = schemathesis.openapi.from_url(
        f"{server.server.server.url}/openapi.json",
        config=SchemathesisConfig(seed=SEED),
        timeout=60,  # the document takes a second of processor time
    )
    # Their check is excluded, see `keeps_to_the_document`: a tenth of the requests.
    schema.config.phases.coverage.unexpected_methods = set()
    schema.config.generation.update(
        deterministic=True,
        max_examples=EXAMPLES,
        allow_x00=False,  # refused also in fields that the document does not have
    )
    # 413: a form with more parts than are read.
    rejection = schema.config.checks.negative_data_rejection
    rejection.expected_statuses = [*rejection.expected_statuses, "413"]
    # Only the route that documents 501 may answer it: another check sees to that.
    schema.config.checks.not_a_server_error.expected_statuses = ["2xx", "3xx", "4xx", "501"]
    return schema


@pytest.fixture(scope="module", autouse=True)
def nothing_went_wrong(server: BackgroundServer) -> Iterator[None]:
    """Behind whatever was answered."""
    yield
    faults = [
        line
        for line in server.logs
        if line["log_level"] in ("error", "critical")
        and "There is no such tier" not in str(line.get("exc_info"))
    ]
    assert not faults


def has_only_unknown_parameters(case: schemathesis.Case, token: dict[str, str]) -> bool:
    """Whether all that is wrong with a case is what the server ignores, once the token is there."""
    generated = case.headers
    case.headers = CaseInsensitiveDict({**(generated or {}), **token})
    try:
        return has_only_additional_properties_in_non_body_parameters(case)
    finally:
        case.headers = generated


def keeps_to_the_document(case: schemathesis.Case, caller: ApiUser) -> None:
    token = {"Authorization": f"Bearer {caller.token}"}
    excluded = [unsupported_method]  # it wants 405; ours is the 404 of tests/contract/test_client
    if case.operation.label in STRICTER:
        excluded.append(positive_data_acceptance)
    if case.operation.label in EITHER_NAME:
        excluded.append(negative_data_rejection)
    if case.operation.label == UNKNOWN_TIER:
        excluded.append(not_a_server_error)
    if has_only_unknown_parameters(case, token):
        excluded.append(negative_data_rejection)
    case.call_and_validate(headers=token, excluded_checks=excluded)


PEOPLE_AND_MONEY = r"^/(auth|iap|reconciliation|subscription|users)\b"
routes = schemathesis.pytest.from_fixture("api")


@routes.include(path_regex=PEOPLE_AND_MONEY).parametrize()
def test_routes_of_people_and_money(case: schemathesis.Case, cora: ApiUser) -> None:
    keeps_to_the_document(case, cora)


@routes.exclude(path_regex=PEOPLE_AND_MONEY).parametrize()
def test_all_other_routes(case: schemathesis.Case, cora: ApiUser) -> None:
    keeps_to_the_document(case, cora)


def test_only_routes_that_exist_are_excused(api: schemathesis.BaseSchema) -> None:
    known = {result.ok().label for result in api.get_all_operations()}
    assert known >= STRICTER.keys()
