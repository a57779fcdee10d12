"""The compiling side: kernels compiled for GPUs that are not here, and what their machine code says. A process of its own."""
