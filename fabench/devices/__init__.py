"""Where calls run: one file per device (`base` has the contract)."""
