"""The training side: networks, losses and one optimisation step after another. A process of its own, or several under torchrun."""
