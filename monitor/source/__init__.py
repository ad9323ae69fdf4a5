"""Asking CometChat: one request to one page, judged and decoded."""
