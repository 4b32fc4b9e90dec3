"""Scans: ingredients detected on photographs."""
