"""low_quantity in pandas: groupby(...).rolling("1h", closed="both").

A rolling window of pandas ends at its own row, so the last row of an instant is taken for all
rows of it.

Usage: pandas_low_quantity.py FILE OUT
"""

import sys

import pandas as pd

TEXTS = {"InvoiceNo": "str", "StockCode": "str", "Description": "str", "Quantity": "int64"}
COLUMNS = ["InvoiceNo", "StockCode", "Description", "InvoiceDate", "Quantity"]


def main(path: str, out: str) -> None:
    """Run the job and print how many rows it gave and the sum of their averages."""
    if path.endswith(".jsonl"):
        orders = pd.read_json(path, lines=True, dtype=TEXTS)[COLUMNS]
    else:
        orders = pd.read_csv(path, usecols=COLUMNS, dtype=TEXTS)[COLUMNS]
    orders = orders[orders["Quantity"] < 10].reset_index(drop=True)
    orders["time"] = pd.to_datetime(orders["InvoiceDate"], format="%Y-%m-%d %H:%M:%S")
    window = (
        orders.set_index("time")
        .groupby("StockCode", sort=False)["Quantity"]
        .rolling("1h", closed="both")
        .agg(["sum", "count"])
    )
    # The rolling result is in the order of its groups, and within them in that of the file.
    last = window.groupby(level=[0, 1], sort=False).transform("last")
    place = orders.groupby("StockCode", sort=False).indices.values()
    last.index = [row for rows in place for row in rows]
    orders["WindowSum"] = last["sum"].astype("int64")
    orders["WindowCount"] = last["count"].astype("int64")
    orders["AverageQuantity"] = orders["WindowSum"] / orders["WindowCount"]
    orders.drop(columns="time").to_csv(out, index=False)
    print(len(orders), f"{orders['AverageQuantity'].sum():.4f}")


if __name__ == "__main__":
    main(*sys.argv[1:])
