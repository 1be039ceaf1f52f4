"""The same statements and the same detectors on Apache Flink; the core never imports it."""
