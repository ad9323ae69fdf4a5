"""The doing: polling, remembering, delivering, showing."""
