"""The door: one file per command, found by its file name. Prints, colours and exit codes live only here.

Importing a command must stay cheap: what needs pandas or matplotlib is imported inside the function that needs it, and torch never.
"""
