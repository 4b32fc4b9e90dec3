"""Finds the elements of one list in a JSON object that is still being written.

The text of a streamed answer arrives in pieces that end anywhere, inside a string or an escape
too. The scanner looks at each character once and gives the text of every element as soon as its
last character is there. It does not validate the JSON; the caller parses it.
"""

from __future__ import annotations

from attrs import define, field

from cookcam.json_parsing import JsonError, parse_json

_OPENING = {"{": "}", "[": "]"}
_WHITESPACE = " \t\r\n"


@define(eq=False)
class ItemScanner:
    """Gives the elements of the list under `key` of the top-level object, in order.

    For `{"recipes": [A, B]}` and the key "recipes": the texts A and B, each once it is closed. A
    list of that name deeper down is not meant. However the text is divided, the elements are the
    same. A text that is no JSON raises ValueError or gives elements that do not parse, or its
    fault stays unseen: the whole has to be parsed in the end.
    """

    key: str
    _closers: list[str] = field(init=False, factory=list[str])
    _in_string: bool = field(init=False, default=False)
    _escaped: bool = field(init=False, default=False)
    _token: list[str] = field(init=False, factory=list[str])
    _wanted: bool = field(init=False, default=False)
    _found: bool = field(init=False, default=False)

    def feed(self, piece: str) -> list[str]:
        """The elements that `piece` completes. Raises ValueError for what cannot be JSON."""
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
        """Whether what is read belongs to the wanted list, however deep."""
        return self._wanted and len(self._closers) >= 2

    def _name(self) -> None:
        """A key of the top-level object ends here."""
        name = _decoded("".join(self._token))
        self._token.clear()
        self._wanted = name == self.key
        if self._wanted:
            if self._found:
                raise ValueError("the list is there twice")
            self._found = True

    def _open(self, character: str) -> None:
        if len(self._closers) == 1 and character != "[":
            self._wanted = False  # the key's value is no list
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
    """The text of a JSON string; None when it is no string."""
    try:
        value: object = parse_json(token)
    except JsonError:
        return None
    return value if isinstance(value, str) else None
