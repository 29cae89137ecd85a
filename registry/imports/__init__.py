"""Spreadsheets as announcements: what a CSV or XLSX file says becomes what can be posted, or is listed as a fault.

Pure: bytes and what the registry holds in, announcements, faults and open questions out. Nothing here asks the service,
records anything, or guesses: what can be read in two ways is left to a person.
"""
