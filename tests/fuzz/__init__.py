"""Rule files, templates, expressions, messages at random: nothing crashes, hangs or grows."""
