"""Exact tails of count models, for kernels."""
