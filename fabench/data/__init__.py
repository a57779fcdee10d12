"""Data sets as they lie on the user's disk, in their own formats; small ones made from a seed; real ones that ship inside packages."""
