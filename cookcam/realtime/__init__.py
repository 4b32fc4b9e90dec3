"""The live channel: the Engine.IO and Socket.IO protocols, and what CookCam builds on them.

`engineio` and `socketio` know nothing of CookCam: they import nothing of it outside this package
and can be run by themselves with handlers and timings of their own (docs/socketio.md).
"""
