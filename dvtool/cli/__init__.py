"""The command line: arguments in, words or JSON out, errors as exit codes."""
