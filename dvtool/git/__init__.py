"""The Git repository beside the data.  The only door to ``pygit2``, opened when there is a Git repository to ask."""
