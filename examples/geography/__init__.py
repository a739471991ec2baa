"""The continents, countries and cities of the world: loaded, queried, explained."""
