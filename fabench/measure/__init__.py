"""The measuring side: from a job to its record. PITFALLS.md says how numbers become wrong, and what here stands against each way."""
