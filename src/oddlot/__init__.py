"""Oddlot finds inventory anomalies in a shop's live order lines."""

__version__ = "0.1.0"
