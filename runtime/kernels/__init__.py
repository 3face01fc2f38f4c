"""What products of weights cost on this machine, kernel by kernel: measured without a model."""
