"""Puts the alert rules into the form of the Prometheus operator: `make dashboard` runs this too."""

from pathlib import Path
from textwrap import indent
from typing import Final

HERE: Final = Path(__file__).parent
RULES: Final = HERE / "rules.yaml"
OUTPUT: Final = HERE.parent / "kubernetes" / "monitoring" / "prometheusrule.yaml"
HEAD: Final = """\
# Made from deploy/prometheus/rules.yaml by `make dashboard`: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: cometwatch
  labels: {app.kubernetes.io/name: cometwatch}
spec:
"""


def text() -> str:
    """The rules as they stand, comments included, two columns further in."""
    return HEAD + indent(RULES.read_text(encoding="utf-8"), "  ")


if __name__ == "__main__":
    OUTPUT.write_text(text(), encoding="utf-8")
