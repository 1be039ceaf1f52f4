"""From chances to alerts: the budget, and the sentence."""
