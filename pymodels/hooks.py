"""What a model may do of its own when its records are saved and deleted."""

from __future__ import annotations


class Hooks:
    """What is called around writing; each does nothing, and is for a model to override.

    What nobody overrode is not called.
    """

    __slots__ = ()

    def before_save(self) -> None:
        """Called before the record is checked and stored; for a subclass to override."""

    def after_save(self, created: bool) -> None:
        """Called after the record was stored, *created* or changed; for a subclass to override."""

    def before_delete(self) -> None:
        """Called before the record is deleted; for a subclass to override."""

    def after_delete(self) -> None:
        """Called after the record was deleted; for a subclass to override."""
