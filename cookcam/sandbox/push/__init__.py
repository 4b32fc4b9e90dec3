"""A fake of Expo's push service, Firebase Cloud Messaging and APNs, on one port.

It records what is sent.

    async with open_push() as push:
        ...                              # a server that has `push.bindings`
        push.gone.add(token)             # the app was removed from that device
        assert push.sent[-1].title == "What's cooking today?"

Sources: Expo's "Send notifications with Expo's Push API", Google's reference of FCM HTTP v1,
Apple's documentation of APNs with tokens. APNs speaks HTTP/2 alone, and so does the fake: without
TLS, with prior knowledge.
"""

from cookcam.sandbox.push.keys import Keys
from cookcam.sandbox.push.server import Behaviour, FakePush, Sent, open_push

__all__ = ["Behaviour", "FakePush", "Keys", "Sent", "open_push"]
