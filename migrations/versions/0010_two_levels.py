"""Two levels of distribution, also in the schema."""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    rules = Path(__file__).parent.parent / "sql" / "0010_two_levels.sql"
    for statement in rules.read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)
