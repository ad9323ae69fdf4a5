"""Rule files, templates, expressions and messages at random: nothing crashes, nothing hangs, nothing grows."""
