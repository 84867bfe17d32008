"""Other stream processors doing a small part of Tocsin's work, each a process of its own."""
