"""The report of one run: one page that needs nothing but a browser."""
