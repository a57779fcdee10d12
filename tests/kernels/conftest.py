"""Triton is bound to its interpreter or to its compiler when it is imported, so interpreted tests have a process of their own."""

import os

collect_ignore = [] if os.environ.get("TRITON_INTERPRET") == "1" else ["interpreted"]
