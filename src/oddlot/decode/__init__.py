"""Bytes to batches of order lines, and rejects: CSV, JSON Lines, Parquet and XLSX."""
