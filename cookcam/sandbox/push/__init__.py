"""A stand-in for Firebase Cloud Messaging and for APNs, on one port: it keeps what was sent.

    async with open_push() as push:
        ...                              # a server that has `push.bindings`
        push.gone.add(token)             # the app was removed from that device
        assert push.sent[-1].title == "What's cooking today?"

Sources: Google's reference of FCM HTTP v1, Apple's documentation of APNs with tokens. APNs speaks
HTTP/2 alone, and so does the stand-in for it: without TLS, from the first byte.
"""

from cookcam.sandbox.push.keys import Keys
from cookcam.sandbox.push.server import Behaviour, FakePush, Sent, open_push

__all__ = ["Behaviour", "FakePush", "Keys", "Sent", "open_push"]
