"""whatssound: live DJ sessions on Supabase."""
