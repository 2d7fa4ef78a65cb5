"""Erasing a person's data: what is meant, the history without it, the steps, the proof and the certificate."""
