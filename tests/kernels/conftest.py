"""Triton is bound to its interpreter or to its compiler when it is imported, so interpreted tests have a process of their own.

Without Triton, as beside PyTorch's CPU build, there is nothing to test here.
"""

import importlib.util
import os

collect_ignore = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["interpreted"]
collect_ignore_glob = [] if importlib.util.find_spec("triton") else ["*"]
