"""One file for each detector."""
