"""How tensors are stored: each kind turns float32 rows into bytes, and knows the nodes that read them."""
