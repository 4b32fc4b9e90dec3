"""The CookCam API server: one tree of Trio nurseries, from configuration to the last answer."""

__version__ = "2.0.0"
