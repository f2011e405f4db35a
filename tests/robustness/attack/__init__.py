"""What scripts/test --fuzz, --kill and --soak share: hostile inputs, children that may die, and what became of them."""
