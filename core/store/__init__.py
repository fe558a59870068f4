"""Everything that is kept in the database, and the only code that knows SQL.

* One writer, one ``UnitOfWork`` at a time, every commit synced to disk.
* Readers see one consistent state and can change nothing.
* Repositories give and take values of ``hanse.core.ledger``; no row leaves.

What an Entry means and whether it is accepted is not decided here.
"""
