"""Models in torch, one file each, the shape of every tensor on its line."""
