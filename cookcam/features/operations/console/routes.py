"""Routes of the operations console: its pages, its files, and the actions of operators."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, get_args
from uuid import UUID

from msgspec import Meta, Struct
from quart import request

from cookcam.errors import NotFound
from cookcam.features.accounts.credentials import checked_email
from cookcam.features.accounts.requests import LoginRequest
from cookcam.features.accounts.service import Accounts
from cookcam.features.accounts.sign_in_limits import limited_sign_in
from cookcam.features.accounts.sign_in_places import SignInPlaces
from cookcam.features.operations.console.guard import (
    current_token,
    not_an_admin,
    operator_only,
    require_same_origin,
)
from cookcam.features.operations.console.models import VIEWS, View
from cookcam.features.operations.console.pages import (
    SIGN_IN,
    error_page,
    page,
    redirect,
    result_page,
)
from cookcam.features.operations.console.sections import Sections
from cookcam.features.operations.console.service import Operations
from cookcam.features.operations.switches.store import SwitchName
from cookcam.features.social.moderation.requests import DecisionRequest
from cookcam.http import (
    Routes,
    errors_as_page,
    hidden,
    parse_uuid,
    rate_limit,
    serve_in_maintenance,
    serve_in_read_only,
    validate_request,
)
from cookcam.http.rate_limit import AUTH
from cookcam.http.request_info import current_request_info
from cookcam.http.responses import RawResponse
from cookcam.http.routing import ROOT
from cookcam.http.security_headers import Header
from cookcam.http.static_files import file_view, stylesheet_view
from cookcam.identity import Identity
from cookcam.identity.console_cookie import CONSOLE, session_cookie
from cookcam.identity.guards import identify_caller

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]

SWITCHES: Final[Mapping[str, SwitchName]] = {name: name for name in get_args(SwitchName)}
_STATIC: Final = Path(__file__).parent / "static"


class RetryRequest(Struct):
    """Without an event: all dead letters."""

    event_id: Annotated[str, Meta(max_length=300)] = ""


class RetryNotificationRequest(Struct):
    """Without a notification: all failed ones."""

    notification_id: UUID | None = None


class SwitchRequest(Struct):
    state: Literal["on", "off"]


class DrainRequest(Struct):
    process_id: Annotated[str, Meta(max_length=300)]


def served(view: Any) -> Any:
    """A route of the console: outside of the API's document, and served in every mode. What is
    written in read-only mode fails in the database."""
    return hidden(serve_in_maintenance(serve_in_read_only(view)))


def routes(
    accounts: Accounts, places: SignInPlaces, operations: Operations, sections: Sections
) -> Routes:
    bp = Routes("console", __name__, prefixes=(ROOT,))
    on_failure = errors_as_page(error_page)
    _pages(bp, on_failure, operations, sections)
    _sessions(bp, on_failure, accounts, places, operations)
    _actions(bp, on_failure, operations)
    style = stylesheet_view(_STATIC / "console.css")
    bp.add_url_rule(f"{CONSOLE}/console.css", "console-css", served(style))
    script = file_view(_STATIC / "console.js", b"text/javascript; charset=utf-8")
    bp.add_url_rule(f"{CONSOLE}/console.js", "console-js", served(script))
    return bp


def _pages(bp: Routes, on_failure: Decorator, operations: Operations, sections: Sections) -> None:
    def show(view: View) -> Callable[[Identity], Awaitable[RawResponse]]:
        async def shown(caller: Identity) -> RawResponse:
            return page(
                "view",
                view=view,
                process=operations.process,
                process_id=operations.process_id,
                operator=caller,
                sections=await sections.of_view(view),
            )

        return shown

    for view in VIEWS:
        path = CONSOLE if view == "overview" else f"{CONSOLE}/{view}"
        name = view.replace("/", "-")
        bp.add_url_rule(path, name, served(on_failure(operator_only(show(view)))))


def _sessions(
    bp: Routes,
    on_failure: Decorator,
    accounts: Accounts,
    places: SignInPlaces,
    operations: Operations,
) -> None:
    @bp.get(SIGN_IN)
    @served
    async def sign_in_page() -> RawResponse:
        return page("sign_in", message="")

    @bp.post(SIGN_IN)
    @served
    @rate_limit(AUTH)
    @on_failure
    @validate_request(LoginRequest)
    async def sign_in(data: LoginRequest) -> RawResponse:
        require_same_origin()
        email = checked_email(data.email)
        async with limited_sign_in(email):
            session = await accounts.sign_in(email, data.password)
        info = current_request_info()
        agent = request.headers.get("User-Agent", "")
        await places.record(session.user.id, info.client_address, agent)
        caller = await identify_caller(session.access_token)
        if not caller.is_admin:
            await accounts.sign_out(session.access_token)
            raise not_an_admin()
        await operations.signed_in(caller)
        return redirect(CONSOLE, _cookie(session.access_token, session.expires_in))

    @bp.post(f"{CONSOLE}/sign-out")
    @served
    @on_failure
    @operator_only
    async def sign_out(_caller: Identity) -> RawResponse:
        await accounts.sign_out(current_token())
        return redirect(SIGN_IN, _cookie("", 0))


def _actions(bp: Routes, on_failure: Decorator, operations: Operations) -> None:
    def action(path: str, model: type[Any]) -> Decorator:
        """The route of a form: for administrators, validated, with a page for failures."""

        def register(view: Callable[..., Any]) -> Callable[..., Any]:
            checked = operator_only(validate_request(model)(view))
            return bp.post(CONSOLE + path)(served(on_failure(checked)))

        return register

    @action("/webhooks/retry", RetryRequest)
    async def retry(caller: Identity, data: RetryRequest) -> RawResponse:
        count = await operations.retry_webhooks(caller, data.event_id or None)
        return result_page(f"{_counted(count, 'event')} due again.")

    @action("/notifications/retry", RetryNotificationRequest)
    async def retry_notifications(caller: Identity, data: RetryNotificationRequest) -> RawResponse:
        count = await operations.retry_notifications(caller, data.notification_id)
        return result_page(f"{_counted(count, 'notification')} due again.")

    @action("/switches/<name>", SwitchRequest)
    async def switch(caller: Identity, name: str, data: SwitchRequest) -> RawResponse:
        if name not in SWITCHES:
            raise NotFound("There is no such switch")
        await operations.set_switch(caller, SWITCHES[name], on=data.state == "on")
        return result_page(f"Switched {data.state}; the instances follow within two seconds.")

    @action("/reports/<report_id>/decision", DecisionRequest)
    async def decide(caller: Identity, report_id: str, data: DecisionRequest) -> RawResponse:
        number = parse_uuid(report_id, NotFound("Report not found"))
        decided = await operations.decide(caller, number, data.decision, data.note or None)
        count = len(decided.reporters)
        reports = f"{count} {'report' if count == 1 else 'reports'}"
        return result_page(f"Decided: {data.decision}. {reports} closed.")

    @action("/drain", DrainRequest)
    async def drain(caller: Identity, data: DrainRequest) -> RawResponse:
        await operations.drain(caller, data.process_id)
        return result_page("The drain has begun.")


def _counted(count: int, noun: str) -> str:
    """`1 event is`, `2 events are`."""
    return f"{count} {noun} is" if count == 1 else f"{count} {noun}s are"


def _cookie(token: str, max_age: int) -> Header:
    over_tls = request.scheme == "https" or request.headers.get("X-Forwarded-Proto") == "https"
    cookie = session_cookie(token, max_age=max_age, over_tls=over_tls)
    return b"set-cookie", cookie.encode()
