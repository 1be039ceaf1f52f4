/* Top alerts: the hundred that it is worth most to look at, one for each incident. */
SELECT severity, probability, stake, "time", detector, sku, invoice, quantity, price, text, id
FROM (
    SELECT
        *,
        row_number() OVER (PARTITION BY incident ORDER BY severity DESC, "time", id) AS place
    FROM alerts
) AS ranked
WHERE place = 1
ORDER BY severity DESC, "time", id
LIMIT 100
