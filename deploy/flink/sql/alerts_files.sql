-- What the rule found, as CSV files; a file is whole once its name has no `.inprogress.`.
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
  'connector' = 'filesystem',
  'path' = 'file:///var/lib/acmeco/alerts',
  'format' = 'csv'
);
