"""The program's lifecycle: start, supervision of background tasks, readiness, phased shutdown.

Independent of features and protocols: the parts it starts and stops are passed in as `Program`.
"""
