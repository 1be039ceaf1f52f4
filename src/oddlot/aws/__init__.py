"""What runs inside AWS: the Lambda function that publishes alerts."""
