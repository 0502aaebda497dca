"""Runs side by side: tables, figures and pages, made from records alone (torch is never imported here)."""
