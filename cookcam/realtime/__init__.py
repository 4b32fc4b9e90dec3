"""Realtime: the Engine.IO and Socket.IO protocols, and CookCam's service on top of them.

`engineio` and `socketio` do not depend on CookCam: outside this package they import only
`cookcam.json_parsing`, and they can be used alone (docs/socketio.md).
"""
