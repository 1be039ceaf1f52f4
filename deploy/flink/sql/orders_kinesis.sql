-- Order lines from a Kinesis stream of JSON records, as the agent's CSVTOJSON ships them: every value
-- a text, which Flink reads as the column's type. Several shards of one task share one watermark, so
-- an idle one holds it back unless table.exec.source.idle-timeout is set.
CREATE TABLE orders (
  InvoiceNo STRING,
  StockCode STRING,
  Description STRING,
  Quantity INT,
  InvoiceDate STRING,
  UnitPrice DOUBLE,
  CustomerID STRING,
  Country STRING,
  event_time AS COALESCE(
    TO_TIMESTAMP(InvoiceDate),
    TO_TIMESTAMP(InvoiceDate, 'M/d/yyyy H:mm'),
    TIMESTAMP '1970-01-01 00:00:00'),
  WATERMARK FOR event_time AS event_time - INTERVAL '5' SECOND
) WITH (
  'connector' = 'kinesis',
  'stream.arn' = 'arn:aws:kinesis:us-east-1:000000000000:stream/acmecoOrders',
  'aws.region' = 'us-east-1',
  'source.init.position' = 'TRIM_HORIZON',
  'format' = 'json',
  'json.ignore-parse-errors' = 'true'
);
