"""Rooms: live sessions, their commands, archived logs, and the last check of each law."""

from pathlib import Path

from alembic import context, op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TABLES = ("law_checks", "room_log_batches", "rooms", "room_commands")
APPEND_ONLY = ("room_log_batches",)


def upgrade() -> None:
    tables = Path(__file__).parent.parent / "sql" / "0002_rooms.sql"
    for statement in tables.read_text().split(";\n"):
        if statement.strip():
            op.execute(statement)
    app = context.config.attributes["app_role"]
    op.execute(f'GRANT SELECT, INSERT, UPDATE, DELETE ON {", ".join(TABLES)} TO "{app}"')
    for table in APPEND_ONLY:
        op.execute(
            f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
        op.execute(f'REVOKE UPDATE, DELETE ON {table} FROM "{app}"')
