"""Where a path of one view of a collection leads in the records as another view reads them."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

from pymodels.errors import QueryError, UnknownField
from pymodels.kinds import Open
from pymodels.readings import PLAIN, reading_of

if TYPE_CHECKING:
    from pymodels.schema import Place, Schema

_OPEN: Final = Open()


def place_here(schema: Schema, owner: Schema, parts: tuple[str, ...]) -> Place:
    """Return where a path that *owner* declares leads in the records that *schema* reads.

    What *schema* declares as well is asked about as it reads it, and takes operands that it can
    hold; all else as it is stored. Raises ``UnknownField`` where the path leads nowhere, and
    ``QueryError`` where what is stored is not what *owner* reads of it, as with a date.

    >>> from decimal import Decimal
    >>> from pymodels import Model, Field
    >>> class Person(Model, collection="person"):
    ...     age: Field[int]
    ...     paid: Field[Decimal]
    >>> class Anyone(Model, collection="person"):
    ...     name: Field[str]
    >>> place_here(Anyone.__schema__, Person.__schema__, ("age",)).kind.is_open
    True
    >>> place_here(Anyone.__schema__, Person.__schema__, ("paid",))  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    pymodels.errors.QueryError: Anyone does not declare 'paid', and Person.paid is stored ...
    """
    theirs = owner.place(parts)
    if theirs.is_key:
        return schema.key_place
    info = schema.stored.get(theirs.stored)
    if info is not None:
        try:
            mine = schema.place((info.name, *parts[1:]))
        except UnknownField:  # another view of a structure, with members of its own
            pass
        else:
            if mine.inside == theirs.inside:
                return mine
    if reading_of(theirs.kind) != PLAIN:
        raise QueryError(
            f"{schema.name} does not declare {'__'.join((theirs.stored, *theirs.inside))!r}, and "
            f"{owner.name}.{theirs.path} is stored in a form of its own: declare it in "
            f"{schema.name} too, or ask {owner.name}.objects(storage)"
        )
    if theirs.field is not None and theirs.field.reference is not None:
        return theirs
    return dataclasses.replace(theirs, kind=_OPEN, root=_OPEN, field=None, plain=None)
