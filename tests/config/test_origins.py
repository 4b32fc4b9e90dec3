"""CORS_ORIGIN: brought into the form in which browsers and packaged apps send it."""

from __future__ import annotations

import pytest

from cookcam.config import ConfigError, load
from cookcam.http.cors import Cors
from cookcam.realtime.engineio.asgi import Request
from cookcam.realtime.engineio.origins import Origins
from tests.support.environments import DEVELOPMENT, PRODUCTION


def origins(value: str, base: dict[str, str] = DEVELOPMENT) -> tuple[str, ...]:
    return load({**base, "CORS_ORIGIN": value}).server.cors_origins


def rejection(value: str, base: dict[str, str] = DEVELOPMENT, name: str = "CORS_ORIGIN") -> str:
    with pytest.raises(ConfigError) as caught:
        load({**base, name: value})
    [mistake] = caught.value.mistakes
    assert mistake.variable == name
    return str(mistake)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://APP.example", "https://app.example"),
        ("HTTPS://app.example", "https://app.example"),
        ("https://app.example:443", "https://app.example"),
        ("https://app.example:0443/", "https://app.example"),
        ("http://app.example:80", "http://app.example"),
        ("http://app.example:443", "http://app.example:443"),
        ("https://app.example/", "https://app.example"),
        ("https://bücher.example", "https://xn--bcher-kva.example"),
        ("https://[2001:DB8:0::1]:8443", "https://[2001:db8::1]:8443"),
        ("http://localhost:8081", "http://localhost:8081"),
        ("capacitor://localhost", "capacitor://localhost"),
        ("ionic://localhost", "ionic://localhost"),
        ("tauri://localhost", "tauri://localhost"),
        ("Capacitor://LocalHost/", "capacitor://localhost"),
        ("app://.", "app://."),
        ("cookcam-app://bundle.v2", "cookcam-app://bundle.v2"),
    ],
)
def test_origin_is_stored_as_it_is_sent(given: str, sent: str) -> None:
    assert origins(given) == (sent,)


def test_repeated_origins_count_once() -> None:
    assert origins("https://a.example, https://A.example:443,") == ("https://a.example",)


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("*", "wildcard"),
        ("https://*.cookcam.ai", "wildcard"),
        ("https://a.example,*", "number 2: wildcard"),
        ("null", "sandboxed"),
        ("cookcam.ai", "scheme://host"),
        ("https:cookcam.ai", "scheme://host"),
        ("file:///index.html", "scheme"),
        ("wss://cookcam.ai", "scheme"),
        ("https://cookcam.ai/app", "no path"),
        ("https://cookcam.ai?x", "no path"),
        ("https://cookcam.ai#x", "no path"),
        ("https://ann@cookcam.ai", "no user"),
        ("https://cookcam.ai:0", "port"),
        ("https://cookcam.ai:99999", "port"),
        ("https://cookcam.ai:", "port"),
        ("https://", "host"),
        ("capacitor://", "host"),
        ("https://a b.example", "no path"),
        ("https://[::1", "host"),
        ("https://[fe80::x]", "cannot be read"),
        (",", "none"),
    ],
)
def test_rejected_origin_says_why(value: str, reason: str) -> None:
    line = rejection(value)
    assert reason in line
    assert "origins" in line


def test_production_takes_packaged_apps_and_no_developers_machine() -> None:
    packaged = (
        "capacitor://localhost",
        "ionic://localhost",
        "tauri://localhost",
        "https://localhost",
        "http://tauri.localhost",
    )
    assert origins(",".join(packaged), PRODUCTION) == packaged
    for value in (
        "http://localhost:8081",
        "http://localhost",
        "http://app.example",
        "https://localhost:8443",
        "https://127.0.0.1",
        "https://[::1]",
        "https://[::ffff:127.0.0.1]",
        "https://dev.localhost",
    ):
        assert "production" in rejection(f"https://cookcam.ai,{value}", PRODUCTION)


def test_checkout_takes_web_origins_only() -> None:
    environ = {**DEVELOPMENT, "CHECKOUT_ALLOWED_ORIGINS": "https://SHOP.example:443"}
    assert load(environ).payments.checkout_allowed_origins == ("https://shop.example",)
    assert "scheme" in rejection("capacitor://localhost", name="CHECKOUT_ALLOWED_ORIGINS")


@pytest.mark.parametrize("origin", ["capacitor://localhost", "https://app.example"])
def test_http_and_sockets_admit_the_same_origins(origin: str) -> None:
    allowed = origins("Capacitor://localhost,https://APP.example:443")
    assert (b"access-control-allow-origin", origin.encode()) in Cors.of(allowed).headers(
        origin.encode()
    )
    sockets = Origins(allowed)
    assert sockets.admits(_upgrade(origin))
    assert not sockets.admits(_upgrade("capacitor://evil"))
    assert (b"access-control-allow-origin", origin.encode()) in sockets.headers(_upgrade(origin))


def _upgrade(origin: str) -> Request:
    scope = {
        "type": "websocket",
        "path": "/socket.io/",
        "query_string": b"",
        "headers": [(b"host", b"api.example"), (b"origin", origin.encode())],
    }
    return Request.of(scope)
