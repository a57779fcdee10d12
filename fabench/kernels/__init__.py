"""Fused kernels, each in a folder of its own that could be lifted out and used without the rest of fabench."""
