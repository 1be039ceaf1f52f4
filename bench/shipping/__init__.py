"""What bench/aws.py ships lines with and to."""
