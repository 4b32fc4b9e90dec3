"""Finds complete elements of one list in a JSON object that arrives in pieces.

A piece of streamed text may end anywhere, even inside a string or an escape. The scanner reads each
character once and returns the text of an element with its last character. It does not validate the
JSON; the caller parses it.
"""

from __future__ import annotations

from attrs import define, field

from cookcam.json_parsing import JsonError, parse_json

_OPENING = {"{": "}", "[": "]"}
_WHITESPACE = " \t\r\n"


@define(eq=False)
class ItemScanner:
    """Returns the elements of the list under `key` of the top-level object, in order.

    For `{"recipes": [A, B]}` and the key "recipes": the texts A and B, each as soon as it is
    closed. A nested list of the same name is ignored. The elements do not depend on how the text is
    divided. Invalid JSON raises ValueError, returns elements that do not parse, or passes
    unnoticed, so the caller must also parse the whole text.
    """

    key: str
    _closers: list[str] = field(init=False, factory=list[str])
    _in_string: bool = field(init=False, default=False)
    _escaped: bool = field(init=False, default=False)
    _token: list[str] = field(init=False, factory=list[str])
    _wanted: bool = field(init=False, default=False)
    _key_seen: bool = field(init=False, default=False)

    def feed(self, piece: str) -> list[str]:
        """Return the elements that `piece` completes. Raises ValueError for some invalid JSON."""
        return [item for character in piece if (item := self._take(character)) is not None]

    def _take(self, character: str) -> str | None:
        if self._in_string:
            self._token.append(character)
            self._end_string(character)
        elif character == '"':
            self._token.append(character)
            self._in_string = True
        elif character in _OPENING:
            self._open(character)
        elif character in "]}":
            return self._close(character)
        elif character == ",":
            return self._separate()
        elif character == ":" and len(self._closers) == 1:
            self._name()
        elif self._token or character not in _WHITESPACE:
            self._token.append(character)
        return None

    def _end_string(self, character: str) -> None:
        if self._escaped:
            self._escaped = False
        elif character == "\\":
            self._escaped = True
        elif character == '"':
            self._in_string = False

    @property
    def _in_list(self) -> bool:
        """Whether the current character is inside the wanted list, at any depth."""
        return self._wanted and len(self._closers) >= 2

    def _name(self) -> None:
        """Handle the end of a key of the top-level object."""
        name = _decoded("".join(self._token))
        self._token.clear()
        self._wanted = name == self.key
        if self._wanted:
            if self._key_seen:
                raise ValueError("duplicate key")
            self._key_seen = True

    def _open(self, character: str) -> None:
        if len(self._closers) == 1 and character != "[":
            self._wanted = False  # the key's value is not a list
        if self._in_list:
            self._token.append(character)
        self._closers.append(_OPENING[character])
        if len(self._closers) <= 2:
            self._token.clear()

    def _close(self, character: str) -> str | None:
        if not self._closers or self._closers.pop() != character:
            raise ValueError("brackets do not match")
        if self._wanted and len(self._closers) == 1:
            self._wanted = False
            return self._element()
        if self._in_list:
            self._token.append(character)
        else:
            self._token.clear()
        return None

    def _separate(self) -> str | None:
        if self._wanted and len(self._closers) == 2:
            return self._element()
        if self._in_list:
            self._token.append(",")
        else:
            self._token.clear()
            self._wanted = self._wanted and len(self._closers) > 1
        return None

    def _element(self) -> str | None:
        text = "".join(self._token)
        self._token.clear()
        return text or None


def _decoded(token: str) -> str | None:
    """Decode a JSON string; None when the token is not a string."""
    try:
        value: object = parse_json(token)
    except JsonError:
        return None
    return value if isinstance(value, str) else None
