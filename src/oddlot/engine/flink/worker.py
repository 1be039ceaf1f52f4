"""Makes a Python worker of Flink's fit for compiled kernels; imported before them."""

from __future__ import annotations

import builtins
import sys

# A worker's `print` is PyFlink's own, which cannot be found under its name where it says that it
# lives; numba looks every function up that it knows, and gives up.
_module = sys.modules.get(builtins.print.__module__)
if _module is not None and not hasattr(_module, builtins.print.__name__):
    setattr(_module, builtins.print.__name__, builtins.print)
