"""Records, their codecs and the table of topics. This room imports no other."""
