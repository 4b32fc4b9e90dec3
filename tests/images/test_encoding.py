"""Base64 as clients write it."""

from __future__ import annotations

import base64
from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cookcam.images import ImageTooLarge, InvalidImage, decode_base64


@given(st.binary(max_size=300), st.booleans(), st.booleans(), st.booleans())
def test_every_base64_variant_decodes_to_the_same(
    data: bytes, url: bool, padded: bool, in_lines: bool
):
    text = (base64.urlsafe_b64encode if url else base64.b64encode)(data).decode()
    text = text if padded else text.rstrip("=")
    text = "\r\n".join(text[at : at + 76] for at in range(0, len(text), 76)) if in_lines else text
    assert decode_base64(text) == data
    assert decode_base64(f"data:image/jpeg;base64,{text}") == data
    assert decode_base64(f"DATA:;charset=x;Base64,{text}") == data


@given(st.binary(min_size=1, max_size=600), st.sampled_from(["", "data:image/png;base64,"]))
def test_text_decoded_by_a_form_or_url_decodes_to_the_same(data: bytes, head: str):
    data = b"\xff\xd8" + data + b"\xff\xd9"  # neither begins nor ends with a plus
    text = base64.b64encode(data).decode()
    assert decode_base64(f" \r\n\t\ufeff{head} {text}\n ") == data
    assert decode_base64(head + text.replace("+", " ")) == data
    assert decode_base64(head + quote(text, safe="")) == data
    lines = [text[at : at + 76] for at in range(0, len(text), 76)]
    for separator in ("\n", " ", "\n    ", "%0D%0A"):
        assert decode_base64(head + separator.join(lines)) == data
    assert decode_base64(head + "\r\n".join(lines).replace("+", " ")) == data


def test_adjacent_pluses_decoded_by_a_form_are_restored():
    data = bytes.fromhex("ffd8fffbefbefbefbeffd9")
    text = base64.b64encode(data).decode()
    assert "+++" in text
    assert decode_base64(text.replace("+", " ")) == data


@given(st.text(max_size=60))
def test_any_text_decodes_or_raises_invalid_image(text: str):
    with suppress(InvalidImage):
        assert isinstance(decode_base64(text), bytes)


@pytest.mark.parametrize(
    "text", ["!!!", "YQ==YQ==", "Y", "YWJ%", "data:image/png,abc", "data:image/png;base64", "é"]
)
def test_invalid_text_is_rejected(text: str):
    with pytest.raises(InvalidImage) as rejected:
        decode_base64(text)
    assert rejected.value.status == 422


def test_limit_is_checked_before_decoding():
    text = base64.b64encode(b"x" * 300).decode()
    assert len(decode_base64(text, max_bytes=300)) == 300
    with pytest.raises(ImageTooLarge):
        decode_base64(text, max_bytes=299)
    with pytest.raises(ImageTooLarge):
        decode_base64("\n" * 1_000, max_bytes=299)
