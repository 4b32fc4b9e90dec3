"""What the routes of account deletion read."""

from __future__ import annotations

from typing import Annotated

from msgspec import Struct, field

from cookcam.http import DOCUMENTED_AS_REQUIRED


class AccountDeletionRequest(Struct):
    """The password may come in the body or in a header; see `confirmation_in_header`."""

    confirm_password: str = field(name="confirmPassword", default="")

    def __repr__(self) -> str:
        return "DeletionRequest(...)"


class DeletionReceiptRequest(Struct):
    receipt: Annotated[str, DOCUMENTED_AS_REQUIRED] = ""


def confirmation_in_header(header: str | None) -> str:
    """The password as the app sends it, in the header `confirmPassword`.

    The bytes of a header arrive as Latin-1. They are UTF-8, or else Latin-1 after all
    (`spec/client-contract.md` §5.1.1).
    """
    if header is None:
        return ""
    try:
        return header.encode("latin-1").decode("utf-8")
    except UnicodeError:
        return header
