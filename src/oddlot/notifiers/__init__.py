"""Ways for alerts to leave: a file is a notifier, its name the type in the config."""
