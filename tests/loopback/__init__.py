"""Real servers on loopback for the parts that live on AWS, with AWS's limits and faults."""
