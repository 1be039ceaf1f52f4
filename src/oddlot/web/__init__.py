"""The dashboard: what `oddlot run` has stored, in a browser."""
