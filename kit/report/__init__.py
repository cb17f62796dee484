"""Tidy rows in, figures and pages out; no model here.

`tables` chooses rows and words, `plot` draws them, `publish` writes a notebook's results.
"""
