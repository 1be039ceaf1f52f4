-- The reference pipeline's rule: each line of fewer than ten units, with the average of the SKU's
-- small lines in the hour that ends with it, both ends and lines of the same time included.
-- The sum is a BIGINT and the average that of DOUBLEs: a sum of INTs can overflow without a word,
-- and an average of INTs is cut to a whole number (low_quantity_whole.sql gives that one).
INSERT INTO alerts
SELECT
  InvoiceNo,
  StockCode,
  Description,
  DATE_FORMAT(event_time, 'yyyy-MM-dd HH:mm:ss'),
  Quantity,
  SUM(CAST(Quantity AS BIGINT)) OVER last_hour,
  COUNT(Quantity) OVER last_hour,
  AVG(CAST(Quantity AS DOUBLE)) OVER last_hour
FROM orders
WHERE Quantity < 10
WINDOW last_hour AS (
  PARTITION BY StockCode
  ORDER BY event_time
  RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW);
