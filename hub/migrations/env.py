"""What Alembic runs: the steps, on the connection and within the transaction that `Store.migrate` opened."""

from alembic import context

from hub.columns import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
)
context.run_migrations()
