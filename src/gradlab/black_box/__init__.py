"""Store the last steps of a training in memory, write them when one fails, and read them again."""
