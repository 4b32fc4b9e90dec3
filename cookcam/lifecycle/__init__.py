"""The nursery tree: run, the phases of shutdown, supervision, readiness.

Knows no feature and no protocol: what it starts and stops comes in as `Program`.
"""
