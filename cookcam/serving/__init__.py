"""Hypercorn's protocol code under our own nursery: listeners, connections, ASGI glue.

Only this package touches Hypercorn's inner classes (pinned to 0.18); tests/serving runs the same
raw requests against plain Hypercorn and compares the responses. docs/serving.md lists the
differences and their reasons.
"""
