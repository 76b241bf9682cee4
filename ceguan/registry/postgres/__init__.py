"""Django's PostgreSQL engine with the one promise the code relies on: writers of business data come one by one."""
