"""One verb a module.  Verbs do not call each other; what several need lies on the floors below."""
