-- Order lines from a Kafka topic of JSON records.
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
  'connector' = 'kafka',
  'topic' = 'acmecoOrders',
  'properties.bootstrap.servers' = '127.0.0.1:9092',
  'properties.group.id' = 'oddlot',
  'scan.startup.mode' = 'earliest-offset',
  'format' = 'json',
  'json.ignore-parse-errors' = 'true'
);
