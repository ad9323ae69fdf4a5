"""Measured figures: `python -m tests.bench [NAME ...] [--runs N]`, or `make bench`; `--help` names them all.

Most measure a real monitor process, against a simulated CometChat and a receiver in processes of their own
or in this one, over HTTP on loopback, and print each number as min, median and max of its runs with what it
is meant to be. What is measured there is this machine as much as the monitor: compare figures of one machine.
`rules` and `kinds` measure the engine alone, `connections` roads to the API side by side. `scheduling` runs
the product's scheduler on a virtual clock against other policies: its delays are the same on every machine.
"""
