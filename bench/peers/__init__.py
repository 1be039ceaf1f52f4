"""The peers of the accuracy bench: each takes `Orders` and gives alerts, causally."""

from peers import (
    adjustments,
    day_counts,
    ensemble,
    gap,
    price_mad,
    quantity_z,
    repeat_rule,
    seed_rule,
    site_hourly,
    sku_days,
)

PEERS = {
    "ensemble": ensemble.find,
    "seed_rule": seed_rule.find,
    "quantity_z": quantity_z.find,
    "price_mad": price_mad.find,
    "poisson": day_counts.find_poisson,
    "negative_binomial": day_counts.find_negative_binomial,
    "gap": gap.find,
    "repeat_rule": repeat_rule.find,
    "adjustments": adjustments.find,
    "site_hourly": site_hourly.find,
    "half_space_trees": sku_days.find_half_space_trees,
    "loda": sku_days.find_loda,
}
RATES = {"ensemble"}  # whose scores are -log10 of alerts a day
