"""What tests of training share."""

from small_tasks import language, reviews, training

__all__ = ["language", "reviews", "training"]  # fixtures
