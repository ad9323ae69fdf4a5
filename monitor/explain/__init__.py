"""Why an alert was raised and what became of it; what the rules make of a message. Pure: it asks nobody."""
