/* Data check: how many lines of each kind, and how many have a value that is missing or odd. */
SELECT
    kind,
    count(*) AS lines,
    count(DISTINCT sku) AS skus,
    min("time") AS first_line,
    max("time") AS last_line,
    sum(CASE WHEN quantity = 0 THEN 1 ELSE 0 END) AS without_quantity,
    -- As text, because the engines do not agree on whether NaN is above 0.
    sum(CASE WHEN price > 0 AND lower(CAST(price AS varchar)) <> 'nan' THEN 0 ELSE 1 END)
        AS without_price,
    sum(CASE WHEN customer = '' THEN 1 ELSE 0 END) AS without_customer,
    sum(CASE WHEN description = '' THEN 1 ELSE 0 END) AS without_description,
    sum(CASE WHEN CAST(CAST("time" AS date) AS varchar) <> CAST("date" AS varchar) THEN 1 ELSE 0 END)
        AS filed_under_another_day
FROM orders
GROUP BY kind
ORDER BY lines DESC, kind
