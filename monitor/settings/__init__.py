"""Settings: one YAML file, overridden by `COMETWATCH_…` variables; checked once, whole, at the door.

`load` either gives settings that hold together or raises with every problem it found, each with its
place and an example of the right form.
"""

from monitor.settings.model import Settings, known_secrets, redacted, schema
from monitor.settings.reading import Reader, SettingsError, load
from monitor.settings.receivers import Receiver
from monitor.settings.secrets import SecretError

__all__ = [
    "Reader",
    "Receiver",
    "SecretError",
    "Settings",
    "SettingsError",
    "known_secrets",
    "load",
    "redacted",
    "schema",
]
