"""Records -> tables, figures, reports. Torch-free: any report rebuilds on a laptop from its records alone."""
