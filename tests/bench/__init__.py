"""Measured figures: `python -m tests.bench [drain latency crowd idle start] [--runs N]`, or `make bench`.

Each measures a real monitor process, against a simulated CometChat and a receiver in processes of their own
or in this one, over HTTP on loopback, and prints its number as min, median and max of its runs with what it
is meant to be. What is measured here is this machine as much as the monitor: compare figures of one machine.
"""
