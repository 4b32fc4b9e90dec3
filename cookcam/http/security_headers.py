"""The security headers of every response; a proxy in front adds none.

`frame-ancestors` is `'none'` to agree with `X-Frame-Options: DENY`, which browsers ignore where
the policy has `frame-ancestors`.
"""

from __future__ import annotations

Header = tuple[bytes, bytes]

CONTENT_SECURITY_POLICY = (
    "default-src 'self';style-src 'self' 'unsafe-inline';script-src 'self';"
    "img-src 'self' data: https:;connect-src 'self';font-src 'self';object-src 'none';"
    "media-src 'self';frame-src 'none';base-uri 'self';form-action 'self';"
    "frame-ancestors 'none';script-src-attr 'none'"
)

UPGRADE = ";upgrade-insecure-requests"
"""Only over TLS: over plain HTTP a browser would fetch the page's own files with https."""

PLAIN_SECURITY_HEADERS: tuple[Header, ...] = (
    (b"content-security-policy", CONTENT_SECURITY_POLICY.encode()),
    (b"strict-transport-security", b"max-age=31536000; includeSubDomains; preload"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"origin-agent-cluster", b"?1"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-dns-prefetch-control", b"off"),
    (b"x-download-options", b"noopen"),
    (b"x-frame-options", b"DENY"),
    (b"x-permitted-cross-domain-policies", b"none"),
    (b"x-xss-protection", b"0"),
)
"""The headers of a response that reaches its client over plain HTTP."""

SECURITY_HEADERS: tuple[Header, ...] = (
    (b"content-security-policy", (CONTENT_SECURITY_POLICY + UPGRADE).encode()),
    *PLAIN_SECURITY_HEADERS[1:],
)
"""The headers of a response that reaches its client over TLS."""
