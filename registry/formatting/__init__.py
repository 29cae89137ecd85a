"""Values, numbers, messages and summaries as text in an interface language, for the pages and the command."""
