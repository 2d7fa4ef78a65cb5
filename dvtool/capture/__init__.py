"""What is learnt of a command while it goes: its journal, its output, its machine, and what it opened."""
