"""Messages of the past: fetched back to a day, kept on the disk, read from recordings."""
