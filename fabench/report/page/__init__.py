"""The one-file HTML page: blocks as markup, its style and script, and the data that it carries."""
