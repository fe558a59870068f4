"""Upper bounds on everything a peer or a file can make us hold, read or wait for.

All limits of Hanse stand here and nowhere else.  Units are in the names.
"""

from __future__ import annotations

from typing import Final

# --- Entries (protocol: a peer that differs is another protocol) ---------------------------
HEADER_SIZE_BYTES_MAX: Final = 1024
SIGNATURE_SIZE_BYTES: Final = 64
BODY_SIZE_BYTES_MAX: Final = 65_536
PRIVATE_PLAINTEXT_SIZE_BYTES_MAX: Final = 61_440
PRIVATE_PADDING_BYTES: Final = 1024
ENVELOPE_SLOTS_MAX: Final = 8
REFS_MAX: Final = 16
SEQ_MAX: Final = 2**31 - 1
FORK_PROOF_SIZE_BYTES_MAX: Final = 2048
NESTING_DEPTH_MAX: Final = 32
ROOT_FEED_ENTRIES_MAX: Final = 1024  # revocations and rotations of one Root key
ROOT_ROTATIONS_MAX: Final = 31  # Root keys r = 0..31
ROTATE_DEVICES_MAX: Final = 256
ERASE_TARGETS_MAX: Final = 64

# --- What stands in a Body --------------------------------------------------------------------
MONEY_AMOUNT_MAX: Final = 2**62
MONEY_EXPONENT_MAX: Final = 18
SALE_FACT_SIZE_BYTES_MAX: Final = 1024
EVIDENCE_SIZE_BYTES_MAX: Final = 56 * 1024  # a DSSE envelope, or the evidence of a fault
ARTIFACT_SIZE_BYTES_MAX: Final = 1024**4
ARTIFACT_FILES_MAX: Final = 10_000
BLOB_SIZE_BYTES_MAX: Final = 16 * 1024**2
OPEN_MAP_VALUES_MAX: Final = 1000  # in a map whose content its kind leaves open
OPEN_MAP_TEXT_CHARACTERS_MAX: Final = 2000
OPEN_MAP_KEY_CHARACTERS_MAX: Final = 40

# --- What inspection may say of a model -------------------------------------------------------
FACT_NAME_CHARACTERS_MAX: Final = 512
FACT_TEXT_CHARACTERS_MAX: Final = 16_000
FACT_VALUES_MAX: Final = 1000
TENSOR_DIMENSIONS_MAX: Final = 32
TENSORS_OF_A_SIGNATURE_MAX: Final = 1000

# --- Clocks and parking ---------------------------------------------------------------------
CLOCK_AHEAD_MS_MAX: Final = 10 * 60 * 1000
PARKED_PER_FEED_MAX: Final = 1000
PARKED_ENTRIES_MAX: Final = 20_000
PARKED_SIZE_BYTES_MAX: Final = 32 * 1024 * 1024
PARKED_MS_MAX: Final = 24 * 60 * 60 * 1000
BRANCH_ENTRIES_PER_FEED_MAX: Final = 1000  # Entries of a Fork's other branch, kept as evidence

# --- What is held of others -----------------------------------------------------------------
FEEDS_MAX: Final = 200_000
HEADERS_PER_NEAR_FEED_MAX: Final = 1_000_000
BODIES_PER_NEAR_FEED_BYTES_MAX: Final = 1024**3
HEADERS_PER_HOP_FEED_MAX: Final = 2000  # then 200 a day, by whoever raises it
BODIES_PER_HOP_FEED_BYTES_MAX: Final = 64 * 1024**2
HEADERS_PER_STRANGER_FEED_MAX: Final = 2000
BODIES_PER_STRANGER_FEED_BYTES_MAX: Final = 1024**2
FORKS_OF_UNHELD_FEEDS_MAX: Final = 20_000
FORKS_PER_AUTHOR_MAX: Final = 16  # proofs; the ones that dispute the lowest seq stay

# --- Keystore and files ---------------------------------------------------------------------
KEYSTORE_SIZE_BYTES_MAX: Final = 64 * 1024
KDF_OPS_MIN: Final = 1
KDF_OPS_MAX: Final = 16
KDF_MEMORY_BYTES_MIN: Final = 8 * 1024**2
KDF_MEMORY_BYTES_MAX: Final = 2 * 1024**3
PASSPHRASE_CHARACTERS_MIN: Final = 10
PASSPHRASE_SIZE_BYTES_MAX: Final = 4096
PROFILE_NAME_CHARACTERS_MAX: Final = 60
AVATAR_SIZE_BYTES_MAX: Final = 64 * 1024
BACKUP_FRAME_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024  # payload of one frame: a Manifest fits
BACKUP_KIND_CHARACTERS_MAX: Final = 40
GUARD_FILE_SIZE_BYTES_MAX: Final = 1024  # hanse.lock, device.mark, highwater
FEED_FILE_FRAME_SIZE_BYTES_MAX: Final = 256 * 1024
FEED_FILE_ENTRIES_MAX: Final = 1_000_000  # held in memory while a file is verified
EVIDENCE_FILE_SIZE_BYTES_MAX: Final = 16 * 1024 * 1024
VECTORS_MAX: Final = 20_000  # in one file of golden vectors
VECTOR_FEED_ENTRIES_MAX: Final = 100  # in one vector: what waits is tried again for each
VECTOR_IDS_MAX: Final = 1000  # leaves or hashes in one vector of a tree
VECTOR_NOTE_CHARACTERS_MAX: Final = 200
FEEDS_IN_FILE_MAX: Final = 2000  # Heads of one feed file stay within one frame
ENTRIES_PER_BATCH_MAX: Final = 5000
ENTRIES_PER_SLICE: Final = 250

# --- This person's own files and terminal -----------------------------------------------------
SETTINGS_SIZE_BYTES_MAX: Final = 64 * 1024
LOG_SIZE_BYTES_MAX: Final = 1_000_000  # of one file, before the next is begun
SECRET_FILE_SIZE_BYTES_MAX: Final = 16 * 1024  # a passphrase or a phrase, and its line end
PIPED_CHARACTERS_MAX: Final = 64 * 1024  # of a phrase or passphrase on standard input

# --- What this program keeps in memory or open for itself ------------------------------------
SEEDS_PER_BODY_MAX: Final = 512
BACKUP_WRAPPING_BYTES_MAX: Final = 128  # DAG-CBOR around the payload: id, index, kind, lengths
LOCK_HOLDER_CHARACTERS_MAX: Final = 100
LOCK_SINCE_MS_MAX: Final = 253_402_300_799_000  # the last second of the year 9999
STORE_READERS_MAX: Final = 4
FOLDED_ROWS_IN_MEMORY_MAX: Final = 20_000
FEED_ROWS_REMEMBERED_MAX: Final = 5000
KINDS_REMEMBERED_MAX: Final = 4096
STANDINGS_REMEMBERED_MAX: Final = 10_000

# --- Content (BEP 52) -----------------------------------------------------------------------
LEAF_SIZE_BYTES: Final = 16 * 1024
PIECE_SIZE_BYTES: Final = 1024 * 1024
FRAME_SIZE_BYTES_MAX: Final = 1024 * 1024

assert HEADER_SIZE_BYTES_MAX < BODY_SIZE_BYTES_MAX < FRAME_SIZE_BYTES_MAX
assert PRIVATE_PLAINTEXT_SIZE_BYTES_MAX % PRIVATE_PADDING_BYTES == 0
assert 2 * (HEADER_SIZE_BYTES_MAX) <= FORK_PROOF_SIZE_BYTES_MAX + 512
assert PIECE_SIZE_BYTES % LEAF_SIZE_BYTES == 0
