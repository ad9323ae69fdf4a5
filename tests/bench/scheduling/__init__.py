"""How soon messages are found for the requests spent: the product's scheduler against simpler ones."""

from tests.bench.scheduling.measuring import PLOTS, measure

__all__ = ["PLOTS", "measure"]
