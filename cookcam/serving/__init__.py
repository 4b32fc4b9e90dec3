"""Listeners, connections and the ASGI interface, around Hypercorn's protocol classes.

Only this package uses Hypercorn's inner classes (pinned to 0.18); tests/serving sends the same raw
requests to plain Hypercorn and compares the responses. docs/serving.md lists the differences and
their reasons.
"""
