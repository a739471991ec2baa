"""The backends that come with PyModels, one module each: a ``Storage`` and a ``Query``."""
