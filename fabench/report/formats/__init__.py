"""How a report is written: one file each, found by its file name. See `base`."""
