"""PostgREST in Python: Supabase's `/rest/v1` for tables, views and functions."""
