"""The conformance suite that a backend passes, with pytest: one class, one method.

>>> from pathlib import Path
>>> from pymodels import get_storage
>>> from pymodels.testing import OpensStorage
"""

from pymodels.testing.opening import OpensStorage

__all__ = ["OpensStorage"]
