"""One file a sink: what it promises, in the form of `tests.delivery.cases.Contract`."""
