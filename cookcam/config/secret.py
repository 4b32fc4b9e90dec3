"""The type of settings that must never be shown."""

from __future__ import annotations


class Secret:
    """A secret value. `repr`, `str` and JSON show `[REDACTED]`.

    Not an attrs class: `attrs.asdict` of a settings section would expose the value.
    """

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value, for the code that sends or compares it."""
        return self._value

    def __repr__(self) -> str:
        return "[REDACTED]"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)
