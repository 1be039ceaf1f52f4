/* Lines, invoices, units and money of each day. */
SELECT
    CAST("date" AS varchar) AS "date",
    count(*) AS lines,
    count(DISTINCT invoice) AS invoices,
    sum(quantity) AS units,
    round(sum(CASE WHEN lower(CAST(price AS varchar)) = 'nan' THEN 0 ELSE quantity * price END), 2)
        AS money
FROM orders
WHERE kind IN ('sale', 'return')
GROUP BY "date"
ORDER BY "date"
