"""Which version this is: it goes into every record."""

__version__ = "0.1.0"
