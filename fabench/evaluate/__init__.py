"""The evaluating side: a data set, a network with the user's weights, and what it is worth. A process of its own."""
