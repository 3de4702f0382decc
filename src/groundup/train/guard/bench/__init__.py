"""``groundup bench guard``: faults on purpose in small trainings, and what becomes of them."""
