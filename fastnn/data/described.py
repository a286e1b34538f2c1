"""What everything that was read by a schema says of its columns."""

from .schema import TableSchema


class Described:
    """Base of what has a `schema`: the names that follow from it."""

    schema: TableSchema

    @property
    def feature_names(self) -> list[str]:
        """Names of the columns of x."""
        return self.schema.feature_names

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes, by label; None for a numeric target or none."""
        return self.schema.class_names
