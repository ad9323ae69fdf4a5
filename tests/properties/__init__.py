"""Every kind that looks at many messages against a model of it that is too slow and too simple to be wrong.

`python -m tests.properties --seconds 60 --seed 1 [--kind count]` makes up stories at random: rules, messages
that come late, out of order, twice and in steps of any size, ticks in between, rules loaded anew. The engine
keeps what it thinks it needs; the model keeps every row there ever was and works everything out from scratch
at each step. Both must tell the same, step by step. `test_properties` is a short form of it.
"""
