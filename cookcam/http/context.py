"""What `quart.request` looks at: a request context without URL adapter and sessions."""

from __future__ import annotations

from typing import Any

from quart import Quart
from quart.ctx import RequestContext
from quart.sessions import SessionMixin
from quart.wrappers import Request


class LeanRequestContext(RequestContext):
    """A request context that costs nothing to make.

    It sets the attributes of Quart's own contexts (`quart.ctx`), so that `quart.request` and
    `copy_current_request_context` work. There is no adapter: `url_for` is not available.
    """

    def __init__(self, app: Quart, request: Request, session: SessionMixin | None = None) -> None:
        self.app = app
        self.request_websocket = request
        self.url_adapter: Any = None
        self.session = session
        self.preserved = False
        self.flashes: Any = None
        self._cv_tokens = []
        self._after_request_functions = []
