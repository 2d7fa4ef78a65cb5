"""The store: packs of sealed chunks and objects, their keys and indexes, and the log that names them."""
