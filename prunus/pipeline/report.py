"""`report`: folders of finished runs → one HTML file."""

from prunus.core.console import log
from prunus.core.files import megabytes
from prunus.core.runs import REPORT, start
from prunus.report.config import ReportConfig
from prunus.report.page import COMPRESS, write_comparison, write_report
from prunus.report.sources import open_source

PAGE = "report.html"


def report(settings: ReportConfig) -> dict[str, object]:
    """Write the page of one compress run, or of any runs side by side, and return the report.

    Raises:
        ConfigError: A folder holds no finished run.
    """
    verbs = [open_source(folder).verb for folder in settings.runs]
    with start("report", settings) as run:
        for number, folder in enumerate(settings.runs, start=1):
            run.add_input(f"run {number}", folder / REPORT)
        out = run.path(PAGE)
        if verbs == [COMPRESS]:
            written = write_report(settings.runs[0], out, pictures=settings.pictures)
        else:
            written = write_comparison(settings.runs, out)
        for section, why in written.missing.items():
            log.info("not shown: %s: %s", section, why)
        log.info("%s (%.2f MB)", written.path, megabytes(written.path))
        run.report = {"page": str(out), "bytes": written.size, "missing": written.missing}
        return run.finish()
