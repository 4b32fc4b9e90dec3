"""The HTTP face of the fake: paths, keys and bodies of GoTrue behind Supabase's gateway."""

from __future__ import annotations

import logging
from typing import Any, TypeAlias, TypeVar, cast
from urllib.parse import urlencode
from uuid import UUID

import psycopg
from attrs import asdict
from quart import Response, request

from cookcam.sandbox.gotrue import faults, shapes
from cookcam.sandbox.gotrue.service import Auth
from cookcam.sandbox.serving import (
    FakeServerApp,
    bearer_token,
    json_response,
    read_json_object,
    replace_settings,
)

T = TypeVar("T")
Body: TypeAlias = dict[str, Any]

BASE = "/auth/v1/"

_log = logging.getLogger("cookcam.sandbox.gotrue")


def create_app(auth: Auth) -> FakeServerApp:
    """The application; what it does wrong on purpose is in `auth.behaviour`."""
    app = FakeServerApp("cookcam.sandbox.gotrue")
    _gateway(app, auth)
    _public(app, auth)
    _grants(app, auth)
    _sessions(app, auth)
    _administration(app, auth)
    return app


def _gateway(app: FakeServerApp, auth: Auth) -> None:
    """Project keys, staged failures and the shape of errors."""

    auth.behaviour.apply_to(
        app, lambda failure: fault_response(faults.staged(failure.status)), BASE
    )

    @app.before_request
    async def check_key() -> Response | None:
        without_key = (f"{BASE}.well-known/jwks.json", f"{BASE}verify")  # browsers open them
        if not request.path.startswith(BASE) or request.path in without_key:
            return None
        key = request.headers.get("apikey") or request.args.get("apikey")
        if not key:
            return _gateway_rejection("No API key found in request")
        try:
            auth.role_of(key)
        except faults.AuthFault:
            return _gateway_rejection("Invalid API key")
        return None

    @app.errorhandler(faults.AuthFault)
    async def on_fault(fault: faults.AuthFault) -> Response:
        return fault_response(fault)

    @app.errorhandler(psycopg.Error)
    async def on_database_error(error: psycopg.Error) -> Response:
        _log.error("the fake's database failed: %s", error)
        return fault_response(faults.unexpected_failure())

    def fault_response(fault: faults.AuthFault) -> Response:
        version = request.headers.get(faults.API_VERSION_HEADER)
        response = json_response(fault.body(version), fault.status)
        response.headers["x-sb-error-code"] = fault.code
        if version is not None and version >= faults.API_VERSION:
            response.headers[faults.API_VERSION_HEADER] = faults.API_VERSION
        return response


def _public(app: FakeServerApp, auth: Auth) -> None:
    @app.get("/auth/v1/.well-known/jwks.json")
    async def jwks() -> Response:
        response = json_response(auth.key.jwks())
        response.headers["Cache-Control"] = "public, max-age=600"
        return response

    @app.get("/auth/v1/health")
    async def health() -> Response:
        return json_response(
            {
                "version": "sandbox",
                "name": "GoTrue",
                "description": "GoTrue is a user registration and authentication API",
            }
        )

    @app.get("/auth/v1/settings")
    async def settings() -> Response:
        return json_response(
            {
                "external": {"email": True, "phone": False, "anonymous_users": False},
                "disable_signup": False,
                "mailer_autoconfirm": not auth.behaviour.confirm_email,
                "phone_autoconfirm": False,
                "sms_provider": "",
                "saml_enabled": False,
            }
        )


def _grants(app: FakeServerApp, auth: Auth) -> None:
    @app.post("/auth/v1/signup")
    async def sign_up() -> Response:
        body = await _body()
        email = _text(body, "email")
        if not email:
            raise faults.AuthFault(
                422, "anonymous_provider_disabled", "Anonymous sign-ins are disabled"
            )
        data = _metadata(body, "data")
        return json_response(await auth.sign_up(email, _text(body, "password"), data))

    @app.post("/auth/v1/token")
    async def token() -> Response:
        grant = request.args.get("grant_type", "")
        body = await _body()
        if grant == "password":
            email = _text(body, "email")
            if not email:
                raise faults.validation_failed("missing email or phone")
            return json_response(await auth.sign_in(email, _text(body, "password")))
        if grant == "refresh_token":
            refresh_token = _text(body, "refresh_token")
            if not refresh_token:
                raise faults.validation_failed("refresh_token required")
            return json_response(await auth.refresh(refresh_token))
        raise faults.AuthFault(400, "invalid_credentials", "unsupported_grant_type")

    @app.post("/auth/v1/recover")
    async def recover() -> Response:
        email = _text(await _body(), "email")
        if not email:
            raise faults.validation_failed("Password recovery requires an email")
        await auth.recover(email, request.args.get("redirect_to", ""))
        return json_response({})

    @app.get("/auth/v1/verify")
    async def follow_link() -> Response:
        """Follow the link of a mail: redirects to the app with a session or an error."""
        try:
            found = await auth.verify(request.args.get("token", ""))
        except faults.AuthFault as fault:
            result = {"error": "access_denied", "error_code": fault.code}
        else:
            names = ("access_token", "refresh_token", "expires_in", "expires_at", "token_type")
            result = {name: found[name] for name in names} | {"type": "recovery"}
        back = f"{request.args.get('redirect_to', '')}#{urlencode(result)}"
        return Response("", status=303, headers={"Location": back})

    @app.post("/auth/v1/verify")
    async def verify() -> Response:
        body = await _body()
        return json_response(await auth.verify(_text(body, "token_hash") or _text(body, "token")))


def _sessions(app: FakeServerApp, auth: Auth) -> None:
    @app.put("/auth/v1/user")
    async def update_user() -> Response:
        """Of what GoTrue can change here, the password alone; null is as good as absent.

        The official clients send `code_challenge: null` outside the PKCE flow.
        """
        body = {name: value for name, value in (await _body()).items() if value is not None}
        if body.keys() - {"code_challenge", "code_challenge_method"} != {"password"}:
            raise faults.validation_failed("the fake changes the password, and only that")
        row = await auth.change_password(_bearer(), _text(body, "password"))
        return json_response(shapes.user_json(row))

    @app.get("/auth/v1/user")
    async def user() -> Response:
        return json_response(shapes.user_json(await auth.user_of(_bearer())))

    @app.post("/auth/v1/logout")
    async def logout() -> Response:
        scope = request.args.get("scope", "global")
        if scope not in ("global", "local", "others"):
            raise faults.validation_failed(f'Unsupported logout scope "{scope}"')
        await auth.sign_out(_bearer(), scope)
        return Response("", status=204)


def _administration(app: FakeServerApp, auth: Auth) -> None:
    def require_service_role() -> None:
        if auth.role_of(_bearer()) != "service_role":
            raise faults.error("not_admin")

    def user_of(user_id: str) -> UUID:
        try:
            return UUID(user_id)
        except ValueError:
            raise faults.validation_failed("user_id must be an UUID", status=404) from None

    @app.post("/auth/v1/admin/users")
    async def create_user() -> Response:
        require_service_role()
        body = await _body()
        row = await auth.create_user(
            _text(body, "email"),
            _text(body, "password"),
            _metadata(body, "user_metadata"),
            _metadata(body, "app_metadata"),
            confirmed=body.get("email_confirm") is True,
        )
        return json_response(shapes.user_json(row))

    @app.delete("/auth/v1/admin/users/<user_id>")
    async def delete_user(user_id: str) -> Response:
        require_service_role()
        await auth.delete_user(user_of(user_id))
        return json_response({})

    @app.put("/auth/v1/admin/users/<user_id>")
    async def update_other(user_id: str) -> Response:
        """Of what GoTrue can change here, bans alone."""
        require_service_role()
        body = await _body()
        if body.keys() != {"ban_duration"}:
            raise faults.validation_failed("the fake changes ban_duration, and only that")
        row = await auth.ban_user(user_of(user_id), _text(body, "ban_duration"))
        return json_response(shapes.user_json(row))

    @app.get("/sandbox/mails")
    async def mails() -> Response:
        """Not GoTrue's: the mails it would have sent, newest first."""
        require_service_role()
        return json_response([asdict(mail) for mail in reversed(auth.mails)])

    @app.put("/sandbox/behaviour")
    async def set_behaviour() -> Response:
        """Not GoTrue's: replace the named settings of the fake; returns all of them."""
        require_service_role()
        changes = await _body()
        try:
            return json_response(replace_settings(auth.behaviour, changes))
        except ValueError as error:
            raise faults.validation_failed(str(error)) from None


def _gateway_rejection(message: str) -> Response:
    return json_response({"message": message, "hint": "Send the project's key as `apikey`."}, 401)


def _bearer() -> str:
    token = bearer_token()
    if not token:
        raise faults.error("no_authorization")
    return token


async def _body() -> Body:
    try:
        return await read_json_object()
    except ValueError as error:
        raise faults.bad_json(str(error)) from None


def _text(body: Body, name: str) -> str:
    value = body.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise faults.bad_json(f"{name} must be a string")
    return value


def _metadata(body: Body, name: str) -> dict[str, Any]:
    value = body.get(name)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise faults.bad_json(f"{name} must be an object")
    return cast(Body, value)
