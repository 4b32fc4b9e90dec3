"""The provider behind `quart.json`: the same JSON as that of other responses."""

from __future__ import annotations

from typing import Any

from quart import Response

from cookcam.http.bodies import parse_json
from cookcam.http.quart_internals import PublicJSONProvider
from cookcam.http.responses import JSON_TYPE, to_json


class JsonProvider(PublicJSONProvider):
    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return to_json(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return parse_json(s)

    def response(self, *args: Any, **kwargs: Any) -> Any:
        body = to_json(self.value_of(args, kwargs))
        return Response(body, content_type=JSON_TYPE.decode())
