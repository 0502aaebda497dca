"""The review page: what an audit found, to be looked at and decided in a browser, from disk, without a server."""

from metadcseg.audit.page.summary import CalibrationPoint, PageSummary, SummaryTable
from metadcseg.audit.page.writer import ReviewPage

__all__ = ["CalibrationPoint", "PageSummary", "ReviewPage", "SummaryTable"]
