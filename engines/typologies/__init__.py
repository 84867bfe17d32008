"""Named patterns of misconduct, one a file."""
