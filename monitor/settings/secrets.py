"""Secrets: they stand in the settings or, better, in files that are read anew each time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from pydantic import SecretStr
from pydantic_core import PydanticCustomError

from monitor.errors import ConfigError
from monitor.settings.section import Section

Forms = Mapping[str, Callable[[str], str]]
"""How to check secrets that stand in files, by the name of their setting."""


class SecretError(ConfigError):
    """A secret's file can't be used as it is; `key` is the setting that names it."""

    def __init__(self, key: str, message: str) -> None:
        self.key = key
        super().__init__(f"{key}: {message}")


class Confidant(Section):
    """A section whose secrets stand in it or, under the same key with `_file`, in a file."""

    forms: ClassVar[Forms] = {}

    @classmethod
    def secret_names(cls) -> tuple[str, ...]:
        return tuple(name for name in cls.model_fields if f"{name}_file" in cls.model_fields)

    def read(self, name: str) -> str | None:
        """The secret as it is now: a file is read each time, so that it can be exchanged while we run.

        None if neither form is set. Raises SecretError when the file can't be read, is empty or holds
        something else.
        """
        given: SecretStr | None = getattr(self, name)
        if given is not None:
            return given.get_secret_value()
        file: str | None = getattr(self, f"{name}_file")
        return None if file is None else from_file(f"{name}_file", file, self.forms.get(name, str))

    def known_secrets(self) -> Iterator[str]:
        """Those that can be read now: what we can't read we can't leak."""
        for name in self.secret_names():
            try:
                yield self.read(name) or ""
            except SecretError:
                continue

    def secret_errors(self) -> Iterator[SecretError]:
        """What keeps secrets from being read now."""
        for name in self.secret_names():
            try:
                self.read(name)
            except SecretError as error:
                yield error


def from_file(key: str, file: str, form: Callable[[str], str] = str) -> str:
    """The secret that the setting `key` says is in `file`, checked by `form`. Raises SecretError."""
    try:
        text = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text"
        raise SecretError(key, f"can't read {file}: {reason}; put the secret there") from error
    if not text:
        raise SecretError(key, f"{file} is empty; it has to hold the secret and nothing else")
    try:
        return form(text)
    except PydanticCustomError as error:
        raise SecretError(key, f"{file}: {error.message()}") from None
