"""Spreadsheet imports: the rows of CSV and XLSX files as announcements, errors by cell, and questions for an editor.

The package is pure. It calls no service and records nothing; a value with several possible meanings becomes a question.

    workbook.py         files as rows of texts; xlsx_rows.py, encodings.py, spool.py
    announcements.py    sheets with an announcement in each row; columns.py, event_cells.py, template.py
    mapping/            sheets with other columns, through a mapping that says what they mean
    tracker/            sheets that are imported again: what changed since, and questions about it
    describe.py         drafts of mappings; sheet_columns.py, draft_key.py, column_meanings.py
    values.py           texts of cells as values; korean.py
    rates.py            exchange rates
    report.py           the refused rows; messages.py has their texts
"""
