-- The reference pipeline's rule with its whole-number average: cut towards zero, as AVG of whole
-- numbers is in Flink. The numbers are BIGINTs all the same: a sum of INTs can overflow without a word.
INSERT INTO alerts
SELECT
  InvoiceNo,
  StockCode,
  Description,
  DATE_FORMAT(event_time, 'yyyy-MM-dd HH:mm:ss'),
  Quantity,
  SUM(CAST(Quantity AS BIGINT)) OVER last_hour,
  COUNT(Quantity) OVER last_hour,
  CAST(AVG(CAST(Quantity AS BIGINT)) OVER last_hour AS DOUBLE)
FROM orders
WHERE Quantity < 10
WINDOW last_hour AS (
  PARTITION BY StockCode
  ORDER BY event_time
  RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW);
