"""Alerts on their way to people and machines: who is told, in which words, and until it arrived."""
