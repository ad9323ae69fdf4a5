"""Who is polled next, and how many requests may be spent. Pure: every decision takes `now` in seconds."""
