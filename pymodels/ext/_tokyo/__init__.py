"""What the backends of Tokyo Cabinet and Tokyo Tyrant share: one layout of a table file."""
