"""The loop of the seven steps, and what it keeps between them."""
