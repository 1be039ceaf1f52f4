"""low_quantity in DuckDB: one window over RANGE, which takes in equal times by itself.

Usage: duckdb_low_quantity.py FILE OUT
"""

import sys

import duckdb

COLUMNS = {
    "InvoiceNo": "VARCHAR",
    "StockCode": "VARCHAR",
    "Description": "VARCHAR",
    "Quantity": "BIGINT",
    "InvoiceDate": "TIMESTAMP",
    "UnitPrice": "DOUBLE",
    "CustomerID": "VARCHAR",
    "Country": "VARCHAR",
}
JOB = """
create table result as
select *, WindowSum / WindowCount as AverageQuantity
from (
    select InvoiceNo, StockCode, Description, InvoiceDate, Quantity,
           sum(Quantity) over hour as WindowSum,
           count(*) over hour as WindowCount
    from {source}
    where Quantity < 10
    window hour as (
        partition by StockCode order by InvoiceDate
        range between interval 1 hour preceding and current row
    )
)
"""


def main(path: str, out: str) -> None:
    """Run the job and print how many rows it gave and the sum of their averages."""
    if path.endswith(".jsonl"):
        source = f"read_json('{path}', format = 'newline_delimited', columns = {COLUMNS})"
    else:
        source = f"read_csv('{path}', header = true, columns = {COLUMNS})"
    database = duckdb.connect()
    database.execute("set threads = 1")
    database.execute("set preserve_insertion_order = false")
    database.execute(JOB.format(source=source))
    database.execute(
        f"copy result to '{out}' (format csv, header, timestampformat '%Y-%m-%d %H:%M:%S')"
    )
    found = database.execute("select count(*), sum(AverageQuantity) from result").fetchall()
    print(found[0][0], f"{found[0][1]:.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
