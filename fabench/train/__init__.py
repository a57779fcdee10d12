"""The training side: networks, losses and one optimisation step after another. A process of its own, or several under torchrun.

It has run on CPUs alone so far, with gloo between processes: what is for GPUs (NCCL, float16 and its scaler there) is written and not yet run.
"""
