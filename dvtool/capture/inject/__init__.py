"""What is put into other programs; it is on their path, and is no part of dv there."""
