"""Running what root may do, and others may not."""

from __future__ import annotations

import os
from typing import Any

from pymodels.testing.running import in_child


def without_privileges(work: Any) -> Any:
    """Run *work* in a child that is not root: root may write everywhere."""

    def run() -> Any:
        if os.geteuid() == 0:
            os.setgid(65534)
            os.setuid(65534)
        return work()

    return in_child(run)
