"""Applications of PyModels; ``make demo`` runs the first."""
