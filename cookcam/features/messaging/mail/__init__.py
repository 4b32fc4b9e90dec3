"""Mails: templates and their delivery."""
