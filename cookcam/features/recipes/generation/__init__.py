"""Recipes that a language model writes: `spec/http-api-core.md` §9.1-§9.8, §14 (C1-C6)."""
