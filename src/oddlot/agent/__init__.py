"""Log files followed and shipped to Kinesis or Firehose, as an agent.json says."""
