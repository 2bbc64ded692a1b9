"""Findings: what a sweep says about one question, as tables that the terminal, the report and files share."""
