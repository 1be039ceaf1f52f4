-- What the rule found, as JSON records on a Kafka topic; each once, if readers read committed ones.
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
  'connector' = 'kafka',
  'topic' = 'acmecoAlerts',
  'properties.bootstrap.servers' = '127.0.0.1:9092',
  'sink.delivery-guarantee' = 'exactly-once',
  'sink.transactional-id-prefix' = 'oddlot-low-quantity',
  'format' = 'json'
);
