"""Bodies of OpenAI's API: completions, chunks, errors, the list of models."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any, TypeAlias, cast

from attrs import define, field, frozen

Body: TypeAlias = dict[str, Any]

CREATED = 1_750_000_000
"""Creation time of all completions and models: equal requests get equal responses."""

IMAGE_TOKENS = 25_501
"""What gpt-4o-mini charges for an image of 800 by 800: 2,833 and four tiles of 5,667."""

MODELS = ("gpt-4o-mini", "gpt-4o", "gpt-4.1-mini", "gpt-4.1")

MAX_NESTING = 20
"""Maximum levels of objects and arrays: OpenAI's limit of 10, each with an `anyOf` around it."""

_SCHEMA_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")
_TYPES = ("string", "integer", "number", "boolean", "null")


@define(slots=False, eq=False)
class ApiFault(Exception):
    """An error response."""

    status: int
    message: str
    kind: str
    code: str | None = None
    param: str | None = None
    retry_after: float | None = None

    @property
    def body(self) -> Body:
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiFault:
    return ApiFault(400, message, "invalid_request_error", code, param)


def unknown_model(name: str) -> ApiFault:
    message = f"The model `{name}` does not exist or you do not have access to it."
    return ApiFault(404, message, "invalid_request_error", "model_not_found", "model")


def invalid_key() -> ApiFault:
    return ApiFault(401, "Incorrect API key provided.", "invalid_request_error", "invalid_api_key")


def staged(status: int, code: str | None, retry_after: float | None) -> ApiFault:
    """The error response for a fault with that status."""
    if status == 429:
        kind = "insufficient_quota" if code == "insufficient_quota" else "requests"
        code = code or "rate_limit_exceeded"
        return ApiFault(429, "Rate limit reached.", kind, code, retry_after=retry_after)
    if status >= 500:
        message = "The server had an error while processing your request."
        return ApiFault(status, message, "server_error", code, retry_after=retry_after)
    return ApiFault(status, "The request was refused.", "invalid_request_error", code)


@frozen
class Question:
    """The parts of a completion request that the fake uses."""

    model: str
    instructions: str
    prompt: str
    images: Sequence[str]
    name: str
    schema: Body
    stream: bool
    with_usage: bool
    max_tokens: int | None
    body: Body = field(repr=False)

    @property
    def seed(self) -> int:
        """The seed of the completion: a hash of the request."""
        digest = sha256(f"{self.model}\0{self.prompt}\0{self.name}".encode())
        for image in self.images:
            digest.update(image.encode())
        return int.from_bytes(digest.digest()[:8], "big")

    @property
    def prompt_tokens(self) -> int:
        return tokens_of(self.instructions + self.prompt) + IMAGE_TOKENS * len(self.images)


def read_question(body: object) -> Question:
    """Raises ApiFault for a request that OpenAI rejects."""
    request = _object(body, "The body has to be a JSON object.", None)
    model = request.get("model")
    if not isinstance(model, str) or not model:
        raise invalid("you must provide a model parameter")
    if model not in MODELS:
        raise unknown_model(model)
    messages = request.get("messages")
    if not isinstance(messages, list) or not messages:
        raise invalid("Missing required parameter: 'messages'.", "messages")
    by_role: dict[str, list[str]] = {"system": [], "user": []}
    images: list[str] = []
    for message in cast("list[object]", messages):
        parts = _object(message, "A message has to be an object.", "messages")
        texts = by_role.setdefault(str(parts.get("role")), [])
        texts.extend(_texts(parts.get("content"), images))
    name, schema = _schema_of(request)
    limit = request.get("max_completion_tokens", request.get("max_tokens"))
    options = cast("Body", request.get("stream_options") or {})
    return Question(
        model=model,
        instructions="\n".join(by_role["system"]),
        prompt="\n".join(by_role["user"]),
        images=images,
        name=name,
        schema=schema,
        stream=request.get("stream") is True,
        with_usage=options.get("include_usage") is True,
        max_tokens=limit if isinstance(limit, int) else None,
        body=request,
    )


def _texts(content: object, images: list[str]) -> Iterator[str]:
    """The texts of a message; its images are added to `images`."""
    if isinstance(content, str):
        yield content
        return
    if not isinstance(content, list):
        raise invalid("Invalid value for 'content'.", "messages")
    for part in cast("list[object]", content):
        piece = _object(part, "A part has to be an object.", "messages")
        if piece.get("type") == "text" and isinstance(piece.get("text"), str):
            yield piece["text"]
        elif piece.get("type") == "image_url":
            url = _object(piece.get("image_url"), "Invalid image.", "messages").get("url")
            if not isinstance(url, str) or not url.startswith("data:image/"):
                raise invalid("Invalid image data.", "messages", "invalid_image_url")
            images.append(url)
        else:
            raise invalid("Invalid type of content part.", "messages")


def _schema_of(request: Body) -> tuple[str, Body]:
    param = "response_format"
    wanted = _object(request.get(param), "The fake answers structured output only.", param)
    described = wanted.get("json_schema")
    if wanted.get("type") != "json_schema" or not isinstance(described, dict):
        raise invalid("The fake answers structured output only.", param)
    named = cast("Body", described)
    name = named.get("name")
    if not isinstance(name, str) or not _SCHEMA_NAME.fullmatch(name):
        raise invalid("Invalid 'response_format.json_schema.name'.", param)
    if named.get("strict") is not True:
        raise invalid("The fake answers strict schemas only.", param)
    schema = _object(named.get("schema"), "Missing 'response_format.json_schema.schema'.", param)
    reader = _SchemaReader(name, cast("Body", schema.get("$defs") or {}))
    if schema.get("type") != "object":
        raise reader.rejection("not an object.")
    return name, reader.read(schema)


@frozen
class _SchemaReader:
    """Checks a schema of strict structured output, and simplifies it.

    Source: OpenAI's guide to structured outputs, "Supported schemas".
    """

    name: str
    definitions: Body

    def rejection(self, why: str) -> ApiFault:
        message = f"Invalid schema for response_format '{self.name}': {why}"
        return invalid(message, "response_format")

    def read(self, value: object, depth: int = 0) -> Body:
        """The schema with references replaced, `const` as an enum, type lists as `anyOf`.

        Raises ApiFault beyond the limit of nesting, which a recursive reference reaches too.
        """
        if depth > MAX_NESTING:
            raise self.rejection(f"exceeds the limit of {MAX_NESTING} levels of nesting.")
        if not isinstance(value, dict):
            raise self.rejection("not an object.")
        schema = cast("Body", value)
        if "$ref" in schema:
            target = str(schema["$ref"]).removeprefix("#/$defs/")
            return self.read(self.definitions.get(target), depth + 1)
        if "const" in schema:
            schema = {**schema, "enum": [schema["const"]]}
        if isinstance(schema.get("type"), list):
            schema = {"anyOf": [{**schema, "type": kind} for kind in schema["type"]]}
        if "anyOf" in schema:
            return {**schema, "anyOf": [self.read(one, depth + 1) for one in schema["anyOf"]]}
        match schema.get("type"):
            case "object":
                return {**schema, "properties": self._properties(schema, depth + 1)}
            case "array":
                return {**schema, "items": self.read(schema.get("items"), depth + 1)}
            case kind if kind in _TYPES or (kind is None and "enum" in schema):
                return schema
            case _:
                raise self.rejection("schema must have a 'type' key.")

    def _properties(self, schema: Body, depth: int) -> Body:
        properties = cast("Body", schema.get("properties") or {})
        if schema.get("additionalProperties") is not False:
            raise self.rejection("'additionalProperties' is required to be supplied and false.")
        if sorted(schema.get("required", [])) != sorted(properties):
            raise self.rejection("'required' must list every key in properties.")
        return {key: self.read(one, depth) for key, one in properties.items()}


@frozen
class Answer:
    """A completion."""

    content: str
    finish_reason: str = "stop"
    refusal: str | None = None


def completion(question: Question, answer: Answer) -> Body:
    message: Body = {"role": "assistant", "content": answer.content, "refusal": None}
    if answer.refusal is not None:
        message |= {"content": None, "refusal": answer.refusal}
    choice: Body = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": answer.finish_reason,
    }
    return {
        **_head(question, "chat.completion"),
        "choices": [choice],
        "usage": usage(question, answer),
    }


def chunks(question: Question, answer: Answer, size: int) -> Iterator[Body]:
    """The completion as stream chunks of `size` characters."""

    def chunk(delta: Body, finish_reason: str | None = None) -> Body:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        return {**_head(question, "chat.completion.chunk"), "choices": [choice]}

    yield chunk({"role": "assistant", "content": "", "refusal": None})
    key, text = "content", answer.content
    if answer.refusal is not None:
        key, text = "refusal", answer.refusal
    for start in range(0, len(text), size):
        yield chunk({key: text[start : start + size]})
    yield chunk({}, answer.finish_reason)
    if question.with_usage:
        head = _head(question, "chat.completion.chunk")
        yield {**head, "choices": [], "usage": usage(question, answer)}


def models() -> Body:
    return {"object": "list", "data": [model(name) for name in MODELS]}


def model(name: str) -> Body:
    """Raises ApiFault for a model that does not exist."""
    if name not in MODELS:
        raise unknown_model(name)
    return {"id": name, "object": "model", "created": CREATED, "owned_by": "system"}


def tokens_of(text: str) -> int:
    """The approximate number of tokens: four bytes each."""
    return (len(text.encode()) + 3) // 4


def usage(question: Question, answer: Answer) -> Body:
    prompt, written = question.prompt_tokens, tokens_of(answer.refusal or answer.content)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": written,
        "total_tokens": prompt + written,
        "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0, "audio_tokens": 0},
    }


def _head(question: Question, kind: str) -> Body:
    return {
        "id": f"chatcmpl-{question.seed:016x}",
        "object": kind,
        "created": CREATED,
        "model": question.model,
        "service_tier": "default",
        "system_fingerprint": "fp_sandbox",
    }


def _object(value: object, otherwise: str, param: str | None) -> Body:
    if not isinstance(value, dict):
        raise invalid(otherwise, param)
    return cast("Body", value)
