"""Ten thousand alerts in a minute, and five thousand while nobody could be told: `python -m tests.storm`."""
