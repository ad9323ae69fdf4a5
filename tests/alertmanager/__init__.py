"""Our groups, repeats and silences beside those of the real Alertmanager, on the same timelines."""
