"""Secrets inside strings: known formats of secrets, and values written beside their names.

Most strings hold none: one search decides that, and they are returned unchanged.
A string that may hold something is read twice: once for `name=value` in any notation (query
strings, forms, headers, JSON, the `repr` of Python objects, each also quoted inside another),
once for shapes that are secret wherever they stand. The key
formats are those of Stripe, OpenAI, Supabase, Google and SendGrid.
"""

from __future__ import annotations

import re

from attrs import frozen

from cookcam.observability.redaction.names import (
    FIELD_KEYS,
    VALUE_KEYS,
    Sensitivity,
    is_secret,
    sensitivity,
)

REDACTED = "[REDACTED]"
TEXT_LIMIT = 8192
# Read beyond the limit before cutting, so that a secret that lies across the cut is recognised.
_OVERLAP = 512

_UNDERSCORED = re.compile(
    r"[spre]k_(?:live|test)_|whsec_|_secret_|sb(?:p|_secret|_publishable)_|gh[opsur]_|github_pat_"
)
# A run as long as the shortest of the numbers below: decides whether they are tried at all.
_NUMBERED = re.compile(r"[0-9A-Z][0-9A-Z \-]{9,}[0-9A-Z]")
_SPACED = re.compile(r"earer\s|EARER\s|asic\s|ASIC\s|row contains", re.ASCII)

# A name, maybe the quotes that close it, and what may stand between a name and its value.
_NAMED = re.compile(
    r"""(?<![A-Za-z_])(?P<name>[A-Za-z_][\w.\-]{0,127}+"""
    r"""(?:(?:[ ][A-Za-z][\w\-]{0,30}+){1,3}(?=\\*["']\s*:))?)"""  # a key with spaces is quoted
    r"""(?P<quote>(?:\\*+["'])++)?+"""
    r"""\s*+(?:=>?(?!=)|:|(?(quote),(?=\s*+[bBuUrR]{0,2}\\*+["'])|(?!)))\s*+"""
)
_OPENING_QUOTE = re.compile(r"""[bBuUrRfF]{0,2}(?P<quote>(?P<slashes>\\*+)["'])""")
_BRACKET = re.compile(r"""(?P<quote>\\*+["'])|(?P<open>[\[({<])|[\])}>]""")
_OPENING_BRACKETS = "[({<"
_BARE = re.compile(r"""[^\s,;&"'<>\[\](){}\\]++""")
# A header's value runs to the end of its line, which may be an escape inside a `repr`.
_HEADER = re.compile(r"""(?:(?!\\+[rn])[^\r\n"'])++""")
_HEADER_NAME = re.compile(r"(?:cookie|authorization)$", re.IGNORECASE)
_FIELD = re.compile(r"\W*([\w\-]+)")
# "they pass: all of them" is a sentence; `pass: hunter2` is not.
_SENTENCE = re.compile(r"pass:\s*[a-z]+(?=[\s.,;]|\Z)", re.IGNORECASE)
_HARMLESS = re.compile(r"(?:true|false|none|null)\b|-?\d{1,5}(?![\w.])", re.IGNORECASE)
_BOOLEAN = re.compile(r"(?:true|false|none|null)\b", re.IGNORECASE)


QUERY_SECRETS = ("code", "state", "key", "sig")
"""Parameters of an address that prove something; elsewhere these names say nothing of the kind."""


_CARD = re.compile(r"(?<![A-Za-z0-9])[2-6](?:[ \-]?[0-9]){12,18}(?![A-Za-z0-9])", re.ASCII)
# Issuer and length: Visa, Mastercard, American Express, Discover, JCB, Diners Club, UnionPay. Other
# long numbers (milliseconds, transactions of the stores) pass the check digit one time in ten.
_ISSUED = re.compile(
    r"4(?:[0-9]{12}|[0-9]{15}|[0-9]{18})|5[1-5][0-9]{14}"
    r"|2(?:22[1-9]|2[3-9][0-9]|[3-6][0-9]{2}|7[01][0-9]|720)[0-9]{12}|3[47][0-9]{13}"
    r"|6(?:011|5[0-9]{2}|4[4-9][0-9])[0-9]{12}|35(?:2[89]|[3-8][0-9])[0-9]{12}"
    r"|3(?:0[0-5]|[68][0-9])[0-9]{11}|62[0-9]{14,17}"
)
_SSN = re.compile(r"(?<![\w\-])(?!000|666|9)[0-9]{3}-(?!00)[0-9]{2}-(?!0000)[0-9]{4}(?![\w\-])")
_IBAN = re.compile(
    r"(?<![A-Za-z0-9])[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)"
)
_AWS_KEY = re.compile(r"(?<![A-Za-z0-9])A[KS]IA[A-Z0-9]{16}(?![A-Za-z0-9])")


def is_card_number(digits: str) -> bool:
    """Whether an issuer gives out such numbers and the check digit is right (ISO/IEC 7812-1)."""
    if not _ISSUED.fullmatch(digits):
        return False
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (sum(doubled) + sum(map(int, digits[-1::-2]))) % 10 == 0


def _is_iban(text: str) -> bool:
    """The check of ISO 13616: the number, letters as 10 to 35, is 1 modulo 97."""
    compact = text.replace(" ", "")
    turned = compact[4:] + compact[:4]
    return int("".join(str(int(character, 36)) for character in turned)) % 97 == 1


def _without_numbers(text: str) -> str:
    def card(match: re.Match[str]) -> str:
        return REDACTED if is_card_number(re.sub("[ -]", "", match[0])) else match[0]

    def iban(match: re.Match[str]) -> str:
        return REDACTED if _is_iban(match[0]) else match[0]

    text = _IBAN.sub(iban, _CARD.sub(card, text))
    return _AWS_KEY.sub(REDACTED, _SSN.sub(REDACTED, text))


@frozen
class _Shape:
    """A kind of secret that is known by its form; `markers` are what every one of them holds."""

    markers: tuple[str, ...]
    pattern: re.Pattern[str]
    replacement: str = REDACTED


_SERVICE_SCHEMES = (
    r"(?:postgres(?:ql)?|rediss?(?:\+cluster)?|mysql|amqps?|mongodb(?:\+srv)?|smtps?)"
)
# What follows a host's colon in a URL without a password.
_PORT = r"[0-9]{1,5}(?:[/?#\s\"'<>,;)\]]|\Z)"
_BARE_HOST = r"[\w.\-]*(?::[0-9]{1,5})?(?:/[\w.\-]*)?(?:\s|\Z)"
_FEW_WORDS = r"""[^\s"'<>]+(?:[ ](?!\S*://)[^\s"'<>]*){0,3}(?=@[\w\[])"""
# Up to five words with spaces between them, none of which begins another address.
_SEVERAL_WORDS = r"""[^\s"'<>]++(?:[ ](?!\S*://)[^\s"'<>]*){1,5}?@(?=[\w\[])"""


_SHAPES = (
    _Shape(
        ("-----BEGIN",),
        re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY.*?(?:-----END [A-Z ]*-----|\Z)", re.DOTALL),
    ),
    _Shape((";base64,",), re.compile(r"(?<=;base64,)[\w+/=\-]++")),
    # JSON Web Tokens, and any other base64 of a JSON object (the stores' signed transactions).
    _Shape(("eyJ",), re.compile(r"eyJ[\w+/=\-]{6,}+(?:\.[\w+/=\-]*+){0,4}")),
    _Shape(
        ("earer", "EARER"),
        re.compile(r"""\b(bearer\s+)(?!tokens?\b|\[REDACTED)[^\s"',;)\]}\\]++""", re.IGNORECASE),
        rf"\1{REDACTED}",
    ),
    _Shape(
        ("asic", "ASIC"),
        re.compile(
            r"\b((?:[Bb]asic|BASIC)\s+)(?=[A-Za-z+/]*(?:[0-9=]|[a-z][A-Z]))[\w+/\-]++={0,2}"
        ),
        rf"\1{REDACTED}",
    ),
    _Shape(("sk_", "pk_", "rk_", "ek_"), re.compile(r"(?:sk|pk|rk|ek)_(?:live|test)_\w++")),
    _Shape(("gh", "github_pat_"), re.compile(r"\b(?:gh[opsur]|github_pat)_\w{20,}+")),
    _Shape(("whsec_",), re.compile(r"whsec_[\w+/=\-]++")),
    _Shape(("sk-",), re.compile(r"(?<![A-Za-z0-9])sk-[\w\-]{8,}+")),
    _Shape(("sbp_", "sb_"), re.compile(r"sb(?:p|_secret|_publishable)_\w++")),
    _Shape(("_secret_",), re.compile(r"(?<=_secret_)\w++")),
    _Shape(("SG.",), re.compile(r"\bSG\.[\w\-]{8,}+(?:\.[\w\-]++)?")),
    _Shape(("ya29", "AIza"), re.compile(r"ya29\.[\w\-]++|AIza[\w\-]{20,}+")),
    _Shape(("PushToken[",), re.compile(r"(?<=PushToken\[)(?!\[)[^\]]++")),
    # Passwords in URLs, also with a bare `/`, `@` or space: to the last `@` that may end one.
    _Shape(
        ("://",),
        re.compile(
            rf"""\b({_SERVICE_SCHEMES}://)(?!\[REDACTED)"""
            rf"""(?:(?!{_BARE_HOST})[^/\s"'<>@:]*:{_FEW_WORDS}|[^\s"'<>]*)@"""
        ),
        rf"\1{REDACTED}@",
    ),
    _Shape(
        ("://",),
        re.compile(rf"""(?<=://)[^/\s"'<>@:]*:(?!{_PORT})(?:{_SEVERAL_WORDS}|[^\s"'<>]*@)"""),
        f"{REDACTED}@",
    ),
    _Shape(("://",), re.compile(r"""(?<=://)[^/\s"'<>]*@"""), f"{REDACTED}@"),
    _Shape(
        tuple(f"{name}=" for name in QUERY_SECRETS),
        re.compile(rf"""([?&#](?:{"|".join(QUERY_SECRETS)})=)[^&\s"'#]++"""),
        rf"\1{REDACTED}",
    ),
    _Shape(
        ("@", "%40"),
        re.compile(
            r"(?<![\w.+\-])[\w.+\-!#$&*/?^`{|}~']{1,128}+(?:@|%40)"
            # a top-level domain begins with a letter: cookcam-api@2.0.0 is a release
            r"(?=[\w\-.]*\.[^\W\d])[\w\-]++(?:\.[\w\-]++)+"
        ),
    ),
    # PostgreSQL quotes the row in the detail of a broken constraint.
    _Shape(
        ("Key (",),
        re.compile(r"(Key \([^)]*+\)=)\(.*"),
        rf"\1({REDACTED})",
    ),
    # PostgreSQL quotes the value that it cannot read (class 22 of its errors).
    _Shape(
        ("invalid input", "malformed", "out of range"),
        re.compile(r"((?:invalid input [\w ]+|malformed [\w ]+|[\w/ ]+ out of range): )\".*\""),
        rf'\1"{REDACTED}"',
    ),
    _Shape(
        ("Failing row contains",), re.compile(r"(?<=Failing row contains )\(.*"), f"({REDACTED})"
    ),
)


def _is_suspect(text: str) -> bool:
    """Whether `text` may hold a secret: a few searches for a character that most texts lack.

    Written out because it is run on every string of every log line, where it takes half the time
    of a regular expression.
    """
    return len(text) > 5 and (
        ":" in text
        or "=" in text
        or "@" in text
        or '"' in text
        or "'" in text
        or "%" in text
        or "[" in text
        or ("_" in text and _UNDERSCORED.search(text) is not None)
        or ("-" in text and ("sk-" in text or "-----BEGIN" in text))
        or ("J" in text and "eyJ" in text)
        or ("." in text and ("SG." in text or "ya29." in text))
        or ("A" in text and "AIza" in text)
        or (len(text) > 10 and _NUMBERED.search(text) is not None)
        or (" " in text and _SPACED.search(text) is not None)
    )


def redact_text(text: str, limit: int = TEXT_LIMIT, secrets: set[str] | None = None) -> str:
    """`text` without its secrets, cut to `limit` characters. Never raises.

    A string without secrets is returned unchanged, as the same object. What stood under a secret
    name is added to `secrets`.
    """
    length = len(text)
    if length <= limit and not _is_suspect(text):
        return text
    if length > limit:
        text = text[: limit + _OVERLAP]
    if _is_suspect(text):
        if "=" in text or ":" in text or "," in text:
            text = _without_named_secrets(text, secrets)
        for shape in _SHAPES:
            for marker in shape.markers:
                if marker in text:
                    text = shape.pattern.sub(shape.replacement, text)
                    break
        if _NUMBERED.search(text):
            text = _without_numbers(text)
    if length > limit:
        return f"{text[:limit]}... ({length} characters)"
    return text


def _without_named_secrets(text: str, secrets: set[str] | None) -> str:
    output: list[str] = []
    position = 0
    named = [(match, sensitivity(match["name"])) for match in _NAMED.finditer(text)]
    person = any(is_secret(match["name"]) for match, _ in named)
    reported = any(
        match["name"] in FIELD_KEYS
        and (field := _FIELD.match(text, match.end())) is not None
        and is_secret(field[1])
        for match, _ in named
    )
    for match, level in named:
        start = match.end()
        if start < position:
            continue
        if level is Sensitivity.PLAIN and not (reported and match["name"] in VALUE_KEYS):
            continue
        if level is Sensitivity.NAME and not person:
            continue
        if _SENTENCE.match(text, match.start()):
            continue
        harmless = _BOOLEAN if level is Sensitivity.ALL else _HARMLESS
        if start >= len(text) or harmless.match(text, start):
            continue
        end = _end_of_value(text, start, header=_HEADER_NAME.search(match["name"]) is not None)
        if end > start:
            before, value, after = _parts(text, start, end)
            output += (text[position:start], before, REDACTED, after)
            if secrets is not None and (before or _is_data(text, match, value)):
                secrets.add(value)
            position = end
    output.append(text[position:])
    return "".join(output)


def _is_data(text: str, match: re.Match[str], value: str) -> bool:
    """Whether a bare value is a secret of its own, not a word of a sentence or a line of code."""
    return "=" in match[0] and "\n" not in text.strip() and sensitivity(value) is Sensitivity.PLAIN


def _parts(text: str, start: int, end: int) -> tuple[str, str, str]:
    """The quote that opens a value (or nothing), the value, and the quote that closes it."""
    opening = _OPENING_QUOTE.match(text, start)
    if opening is None:
        return "", text[start:end], ""
    if text.endswith(opening["quote"], opening.end(), end):
        return opening[0], text[opening.end() : end - len(opening["quote"])], opening["quote"]
    return opening[0], text[opening.end() : end], ""


def _end_of_value(text: str, start: int, *, header: bool) -> int:
    """Where the value that begins at `start` ends; a value that was cut off ends with the text."""
    opening = _OPENING_QUOTE.match(text, start)
    if opening is not None:
        return _end_of_quoted(text, opening.end(), opening["quote"])
    if text[start] in _OPENING_BRACKETS:
        return _end_of_bracketed(text, start)
    bare = (_HEADER if header else _BARE).match(text, start)
    end = bare.end() if bare is not None else start
    if end < len(text) and text[end] in _OPENING_BRACKETS:  # Secret(…)
        return _end_of_bracketed(text, end)
    return end


def _end_of_quoted(text: str, start: int, quote: str) -> int:
    """After the quote that closes a string: written as the one that opened it.

    With more backslashes before it, it belongs to the string or to one inside it, however many
    times the text was quoted; a value that ends in a backslash ends too late, which hides more.
    """
    end = text.find(quote, start)
    while end > 0 and text[end - 1] == "\\":
        end = text.find(quote, end + 1)
    return len(text) if end < 0 else end + len(quote)


def _end_of_bracketed(text: str, start: int) -> int:
    depth = 0
    position = start
    while (match := _BRACKET.search(text, position)) is not None:
        position = match.end()
        if match["quote"]:
            position = _end_of_quoted(text, position, match["quote"])
        elif match["open"]:
            depth += 1
        else:
            depth -= 1
            if depth <= 0:
                return position
    return len(text)
