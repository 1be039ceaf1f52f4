/* The rule of the reference pipeline: small lines, with the average of their SKU's last hour. */
SELECT
    sku,
    "time",
    invoice,
    quantity,
    sum(quantity) OVER last_hour AS window_sum,
    count(*) OVER last_hour AS window_count,
    avg(quantity) OVER last_hour AS average_quantity
FROM orders
WHERE quantity < 10
WINDOW last_hour AS (
    PARTITION BY sku
    ORDER BY "time"
    RANGE BETWEEN INTERVAL '1' HOUR PRECEDING AND CURRENT ROW
)
ORDER BY "time", sku, invoice, quantity
