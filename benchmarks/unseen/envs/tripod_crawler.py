"""A crawler on three legs, six servos, that follows a heading; its numbers have no names."""

from trace_robot import Environment

from .unseen_parts.tripod_crawler import TripodCrawler

ENVIRONMENTS = [
    Environment(
        "tripod-crawler",
        "Crawl 2 m along the heading, at most 30 cm beside it.",
        make=TripodCrawler,
        success="success",
        failure="failed",
        horizon=400,
        facts=("dynamics:",),
    )
]
