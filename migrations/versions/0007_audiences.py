"""Audiences, newcomers and floor prices; see the file of that name in ../sql."""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    tables = Path(__file__).parent.parent / "sql" / "0007_audiences.sql"
    for statement in tables.read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)
