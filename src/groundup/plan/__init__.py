"""What a run will reach and cost, before it starts: laws, memory, time, money. No torch here."""
