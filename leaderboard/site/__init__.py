"""The static site: rows from runs and entries, tables, pages, charts, and the same numbers as text."""
