"""Facts into wire text, one file a format. Pure, and total: no alert, however hostile, makes it fail."""
