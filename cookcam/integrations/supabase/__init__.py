"""Supabase: Auth, Storage and the sessions of users."""
