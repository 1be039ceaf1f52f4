-- What the rule found, as JSON records on a Kinesis stream, which triggers the Lambda function: Flink
-- has no connector called aws-lambda. Delivered at least once; the function knows a repeat by its id.
CREATE TABLE alerts (
  InvoiceNo STRING,
  StockCode STRING,
  Description STRING,
  InvoiceDate STRING,
  Quantity INT,
  WindowSum BIGINT,
  WindowCount BIGINT,
  AverageQuantity DOUBLE
) WITH (
  'connector' = 'kinesis',
  'stream.arn' = 'arn:aws:kinesis:us-east-1:000000000000:stream/acmecoAlerts',
  'aws.region' = 'us-east-1',
  'sink.partitioner-field-delimiter' = '|',
  'format' = 'json'
);
