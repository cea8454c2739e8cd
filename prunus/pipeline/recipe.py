"""`run`: a recipe's stages one after the other, resumable, and one report."""

from prunus.core.console import log
from prunus.core.errors import ConfigError, suggest
from prunus.pipeline.chain.chain import Chain, Reached
from prunus.pipeline.chain.recipe import read_recipe
from prunus.pipeline.chain.reopen import open_run
from prunus.pipeline.chain.stage import stage_lines
from prunus.pipeline.config import RecipeConfig

VERB = "run"


def run_recipe(settings: RecipeConfig) -> dict[str, object]:
    """Run every stage of a recipe and return the report.

    Raises:
        ConfigError: The recipe is wrong somewhere; nothing has been run.
        PrunusError: What a stage raises.
    """
    if settings.dry_run:
        assert settings.recipe is not None
        recipe = read_recipe(settings.recipe)
        log.info("%s", stage_lines(recipe.stages))
        return {"dry_run": True, "stages": [stage.to_mapping() for stage in recipe.stages]}
    run, settings = open_run(VERB, settings)
    assert settings.recipe is not None
    with run:
        recipe = read_recipe(settings.recipe)
        run.add_input("recipe", settings.recipe)
        _check_until(settings.until, [stage.name for stage in recipe.stages])
        chain = Chain(run, recipe.shared, redo_from=settings.redo_from, until=settings.until)
        try:
            for stage in recipe.stages:
                chain.do(stage.name, stage.verb, **stage.settings)
        except Reached as stage_name:
            log.info("stopped after %s. Go on: prunus run --resume %s", stage_name, run.folder)
            return {"stopped_after": str(stage_name), "stages": chain.facts()}
        run.report["stages"] = chain.facts()
        return run.finish()


def _check_until(name: str | None, known: list[str]) -> None:
    if name is not None and name not in known:
        raise ConfigError(
            f"--until: the recipe has no stage '{name}'.{suggest(name, known)} It has "
            f"{', '.join(known)}."
        )
