"""low_quantity in Polars: rolling_sum_by over each SKU, both ends included.

Usage: polars_low_quantity.py FILE OUT
"""

import sys

import polars as pl

SCHEMA = {
    "InvoiceNo": pl.String,
    "StockCode": pl.String,
    "Description": pl.String,
    "Quantity": pl.Int64,
    "InvoiceDate": pl.String,
    "UnitPrice": pl.Float64,
    "CustomerID": pl.String,
    "Country": pl.String,
}


def main(path: str, out: str) -> None:
    """Run the job and print how many rows it gave and the sum of their averages."""
    if path.endswith(".jsonl"):
        orders = pl.scan_ndjson(path, schema=SCHEMA)
    else:
        orders = pl.scan_csv(path, schema=SCHEMA)
    time = pl.col("InvoiceDate").str.to_datetime("%Y-%m-%d %H:%M:%S", time_unit="us")
    window = {"by": "time", "window_size": "1h", "closed": "both"}
    result = (
        orders.filter(pl.col("Quantity") < 10)
        .select(
            "InvoiceNo",
            pl.col("StockCode").cast(pl.Categorical),  # groups faster than text
            "Description",
            "InvoiceDate",
            "Quantity",
            time=time,
            one=pl.lit(1, pl.Int64),
        )
        .with_columns(
            WindowSum=pl.col("Quantity").rolling_sum_by(**window).over("StockCode"),
            WindowCount=pl.col("one").rolling_sum_by(**window).over("StockCode"),
        )
        .with_columns(AverageQuantity=pl.col("WindowSum") / pl.col("WindowCount"))
        .drop("time", "one")
        .collect()
    )
    result.write_csv(out)
    print(len(result), f"{result['AverageQuantity'].sum():.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
