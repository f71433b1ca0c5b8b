"""Training in torch: recipes, augmentation, and a loop that can be interrupted and resumed."""
