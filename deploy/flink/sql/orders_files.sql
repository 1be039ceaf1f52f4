-- Order lines from CSV files in a folder, as `oddlot replay` writes them: header line, UTF-8.
-- A time that no pattern reads becomes 1970, which the watermark leaves behind: a NULL would end the job.
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
  'connector' = 'filesystem',
  'path' = 'file:///var/log/acmeco',
  'format' = 'csv',
  'csv.null-literal' = '',
  'csv.ignore-parse-errors' = 'true'
);
