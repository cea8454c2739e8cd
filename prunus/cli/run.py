"""`prunus run`: any chain of verbs, from a recipe."""

from prunus.pipeline.config import RecipeConfig

SETTINGS = RecipeConfig


def run(settings: RecipeConfig) -> dict[str, object]:
    from prunus.pipeline.recipe import run_recipe  # late: torch loads once the settings are right

    return run_recipe(settings)
