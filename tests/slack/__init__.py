"""Slack by bot token under fire: a thousand posts whose answers get lost, and what people see in the end."""
