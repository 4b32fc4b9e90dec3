"""The elements of a list, found while its text is still arriving."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from cookcam.integrations.openai.items import ItemScanner

KEY = "recipes"
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(alphabet=st.sampled_from('ab"\\{}[]:, \n\té🍅') | st.characters(codec="utf-8")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from([KEY, "a", "b", 'c"}', ""]), inner, max_size=4)
    ),
    max_leaves=12,
)
documents = st.dictionaries(st.sampled_from(["a", "b", '"', ""]), values, max_size=3).flatmap(
    lambda others: st.lists(values, max_size=5).map(lambda items: {**others, KEY: items})
)


@given(
    st.data(),
    documents,
    st.sampled_from([None, 0, 2]),
    st.booleans(),
)
def test_any_division_gives_the_elements(
    data: st.DataObject, document: dict[str, object], indent: int | None, ascii_only: bool
):
    names = data.draw(st.permutations(list(document)))
    document = {name: document[name] for name in names}
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=20)))
    pieces = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
    scanner = ItemScanner(KEY)
    found = [json.loads(item) for piece in pieces for item in scanner.feed(piece)]
    assert found == document[KEY]


@given(st.text(alphabet='{}[]",: \\a1' + KEY, max_size=60), st.integers(0, 60))
def test_invalid_json_never_breaks_the_scanner(text: str, cut: int):
    def scan(*pieces: str) -> list[str] | None:
        scanner = ItemScanner(KEY)
        try:
            return [item for piece in pieces for item in scanner.feed(piece)]
        except ValueError:
            return None

    assert scan(text) == scan(text[:cut], text[cut:]) == scan(*text)


def test_element_is_complete_with_its_last_character():
    scanner = ItemScanner(KEY)
    assert scanner.feed('{"recipes": [{"title": "So') == []
    assert scanner.feed('up"') == []
    assert scanner.feed("}") == []
    assert scanner.feed(",") == ['{"title": "Soup"}']
