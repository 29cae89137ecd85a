"""Spreadsheet imports: the rows of CSV and XLSX files as announcements, errors by cell, and questions for an editor.

The package is pure. It calls no service and records nothing; a value with several possible meanings becomes a question.
"""
