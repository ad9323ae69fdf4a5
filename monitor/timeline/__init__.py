"""Tests of rules as people write them: this is said at these times, that must have been told by then."""
