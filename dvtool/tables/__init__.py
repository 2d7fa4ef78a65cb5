"""Tables as columns; the one door to pyarrow."""
