"""The parent's side of a sweep: which cell is next (schedule), how it is handed over (launch), and the loop around both (run).

No torch, no printing: what happens is told as events, which `cli` shows.
"""
