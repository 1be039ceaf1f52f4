"""The reference pipeline on AWS, part by part; app.py puts it together."""
