"""The JSON of `quart.json`: the same as that of the answers, for whoever uses Quart's functions."""

from __future__ import annotations

from typing import Any

from quart import Response
from quart.json.provider import JSONProvider

from cookcam.http.bodies import parse_json
from cookcam.http.responses import JSON_TYPE, to_json


class JsonProvider(JSONProvider):
    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return to_json(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return parse_json(s)

    def response(self, *args: Any, **kwargs: Any) -> Any:
        body = to_json(self._prepare_response_obj(args, kwargs))
        return Response(body, content_type=JSON_TYPE.decode())
