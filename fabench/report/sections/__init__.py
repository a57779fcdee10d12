"""The sections of a report: one file each, a function from readings to a section, or None where it would be empty."""
