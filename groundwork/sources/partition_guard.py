"""SQL that finds tables without a replica identity when a publication or a partition is made.

A new partition never inherits the replica identity of its root. When the root has no primary key either,
the application's UPDATE and DELETE of a later partition would fail. An event trigger gives each new partition
of the publication an identity, in the transaction that makes it.
"""

from __future__ import annotations

from collections.abc import Collection

from groundwork.sources.wire import Connection, literal, quoted

_BARE = """
    with recursive tree(part) as (
        select r.prrelid from pg_publication_rel r join pg_publication p on p.oid = r.prpubid
        where p.pubname = {publication}{which}
        union
        select i.inhrelid from tree t join pg_class c on c.oid = t.part and c.relkind = 'p'
        join pg_inherits i on i.inhparent = t.part
    )
    select {shown}
    from tree t join pg_class c on c.oid = t.part join pg_namespace n on n.oid = c.relnamespace
    where c.relkind = 'r' and c.relpersistence = 'p'{only} and c.relreplident <> 'f' and not exists (
        select from pg_index i where i.indrelid = c.oid and i.indisvalid and i.indimmediate
        and case c.relreplident when 'd' then i.indisprimary when 'i' then i.indisreplident end)"""


def checked(publication: str, statements: Collection[str], tables: Collection[str] = ()) -> str:
    """A block that publishes tables, or nothing at all if one of them, or a partition, has no identity.

    It looks when it runs: what was made since the set-up was printed counts, and so does a statement before
    it that failed.

    Args:
        publication: its name.
        statements: what makes or changes it.
        tables: look at these only, quoted; at all that it names when there are none.
    """
    which = ""
    if tables:
        names = ", ".join(literal(name) for name in tables)
        which = f"\n            and r.prrelid = any (cast(array[{names}] as regclass[]))"
    shown = "string_agg(format('%I.%I', n.nspname, c.relname), ', ') into bare"
    query = _BARE.format(publication=literal(publication), which=which, only="", shown=shown)
    body = "\n".join(f"    {statement}" for statement in statements)
    return (
        "do "
        + dollar_quoted(
            f"declare\n    bare text;\nbegin\n{body}{query};\n"
            "    if bare is not null then\n"
            "        raise exception 'nothing was published: without a replica identity, UPDATE and"
            " DELETE would fail on %', bare\n"
            "            using hint = 'print the set-up again, and run it from the beginning';\n"
            "    end if;\n"
            "end "
        )
        + ";"
    )


def _body(publication: str) -> str:
    query = _BARE.format(
        publication=literal(publication),
        which="",
        only=" and c.relispartition",
        shown="format('%I.%I', n.nspname, c.relname)",
    ).replace("\n    ", "\n        ")
    return (
        "\ndeclare\n    made text;\nbegin\n"
        f"    for made in{query}\n    loop\n"
        "        begin\n"
        "            execute 'alter table ' || made || ' replica identity full';\n"
        "        exception when others then\n"
        "            raise warning 'no replica identity for %: %', made, sqlerrm;\n"
        "        end;\n"
        "    end loop;\nend "
    )


def _name(publication: str) -> str:
    """The name of the guard and its function, within PostgreSQL's 63 bytes."""
    return publication.encode()[:52].decode(errors="ignore") + "_partitions"


def guard(publication: str, schema: str) -> list[str]:
    """The statements that make the guard of a publication, or make it anew.

    Args:
        publication: its name.
        schema: where its function goes.
    """
    name = quoted(_name(publication))
    function = f"{quoted(schema)}.{name}"
    return [
        f"create or replace function {function}() returns event_trigger language plpgsql"
        f" security definer set search_path = pg_catalog as {dollar_quoted(_body(publication))};",
        f"drop event trigger if exists {name};",
        f"create event trigger {name} on ddl_command_end when tag in ('CREATE TABLE', 'ALTER TABLE')"
        f" execute function {function}();",
    ]


def guarded(sql: Connection, publication: str) -> bool:
    """Whether the guard of a publication is there, as it is made today."""
    found = sql.run(
        "select p.prosrc from pg_event_trigger t join pg_proc p on p.oid = t.evtfoid"
        " where t.evtname = :name and t.evtenabled in ('O', 'A')",
        name=_name(publication),
    )
    return bool(found) and found[0][0] == _body(publication)


def dollar_quoted(body: str) -> str:
    """A text between dollar signs, whatever it holds."""
    tag, number = "$$", 0
    while tag in body:
        tag, number = f"$_{number}$", number + 1
    return f"{tag}{body}{tag}"
