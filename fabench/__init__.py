"""fabench: benchmarks that show where attention is quadratic, where it is linear, and where the two cross.

Follow a cell through the folders, in this order:

    suites/*.toml -> suite -> sweep -> (wall) -> attention, devices, measure -> (wall) -> store -> analysis -> report

Nothing on this side of the wall imports torch; the two sides meet only in the bytes that `schema` defines.
"""

__version__ = "0.1.0"
