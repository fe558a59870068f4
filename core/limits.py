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
RENEWED_MAX: Final = 64  # Listings and Demands one Entry extends

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

# --- Words of the market, and search -----------------------------------------------------------
CONCEPTS_MAX: Final = 5000
CONCEPT_ALIASES_MAX: Final = 32  # in one language
CONCEPT_ALIAS_CHARACTERS_MAX: Final = 60
SEARCH_TEXT_CHARACTERS_MAX: Final = 500  # of a line of search; the rest is not looked at
SEARCH_TERMS_MAX: Final = 24  # of one line
SEARCH_WORD_CHARACTERS_MAX: Final = 64  # a longer word is found by its beginning
SEARCH_STEMS_REMEMBERED_MAX: Final = 50_000
SEARCH_FILTER_VALUES_MAX: Final = 32  # of one facet, in one query
SEARCH_PAGE_ROWS_MAX: Final = 200
SEARCH_CURSOR_CHARACTERS_MAX: Final = 200
SEARCH_COUNTED_MAX: Final = 10_000  # shown as "10,000+" beyond
SEARCH_RANKED_MAX: Final = 5000  # the newest hits, of which the best stand first
SEARCH_BOOSTED_MAX: Final = 200  # of those, looked at again for more than their words
SEARCH_SORTED_MAX: Final = 3000  # hits that are sorted at once; more are walked to in order
SEARCH_LISTED_MAX: Final = 30_000  # hits whose numbers are held while walking
SEARCH_PROBED_MAX: Final = 800  # rows of one page that are asked for their words one by one
SEARCH_WALKED_MAX: Final = 30_000  # places of an index passed for one page
SEARCH_READ_MAX: Final = 10_000  # the same, where each row must be read
SEARCH_EXAMINED_MAX: Final = 4000  # hits whose rows are looked at, the newest first
SEARCH_HIDDEN_MAX: Final = 20_000  # rows not shown that are left out as a set
SEARCH_FOLLOWED_MAX: Final = 500  # sellers that one query can be limited to
FACET_VALUES_SHOWN_MAX: Final = 100

# --- Reading the bytes of a model (certification.md 3) ------------------------------------------
RECOGNISE_SIZE_BYTES_MAX: Final = 64 * 1024  # read by the program itself, of each file
RECOGNISE_UNPACKED_BYTES_MAX: Final = 64 * 1024  # of a compressed stream, to see what it holds
RECOGNISE_MEMORY_BYTES_MAX: Final = 80 * 1024**2  # an xz stream may ask for its dictionary
ONNX_SIZE_BYTES_MAX: Final = 2 * 1024**3  # protobuf's own bound; tensors may lie outside
ONNX_NODES_MAX: Final = 1_000_000
ONNX_INITIALIZERS_MAX: Final = 100_000
ONNX_NESTING_MAX: Final = 32  # graphs within graphs; protobuf stops at 100 messages
ONNX_FUNCTIONS_MAX: Final = 10_000
ONNX_EXPANDED_NODES_MAX: Final = 1_000_000  # after every call of a function is written out
ONNX_TENSOR_SIZE_BYTES_MAX: Final = 4 * 1024**3  # of a tensor the graph states or makes
TENSOR_BYTES_MISSING_MAX: Final = 64  # product of dimensions x item over the bytes present
SAFETENSORS_HEADER_SIZE_BYTES_MAX: Final = 16 * 1024**2
SAFETENSORS_TENSORS_MAX: Final = 200_000
GGUF_KEYS_MAX: Final = 10_000
GGUF_TENSORS_MAX: Final = 100_000
GGUF_ARRAY_ELEMENTS_MAX: Final = 4 * 1024**2
GGUF_STRING_SIZE_BYTES_MAX: Final = 16 * 1024**2
GGUF_NAME_SIZE_BYTES_MAX: Final = 64 * 1024  # of a key or a tensor
GGUF_ALIGNMENT_BYTES_MAX: Final = 64 * 1024
TFLITE_SIZE_BYTES_MAX: Final = 2 * 1024**3  # offsets are 32 bits
TFLITE_TABLES_MAX: Final = 250_000  # met; one that is shared counts each time
TFLITE_ELEMENTS_MAX: Final = 4_000_000  # of all vectors and texts looked at
ZIP_MEMBERS_MAX: Final = 10_000
ZIP_RATIO_MAX: Final = 200  # of one member, unpacked to packed
ZIP_UNPACKED_FACTOR_MAX: Final = 4  # all members, unpacked, to the size of the file
ZIP_UNPACKED_SPARE_BYTES_MAX: Final = 64 * 1024**2  # and this much on top
ZIP_DIRECTORY_SIZE_BYTES_MAX: Final = 16 * 1024**2
ZIP_TEXT_SIZE_BYTES_MAX: Final = 16 * 1024**2  # a member read as JSON
HDF5_OBJECTS_MAX: Final = 100_000
NPY_HEADER_SIZE_BYTES_MAX: Final = 64 * 1024
FACTS_CHARACTERS_MAX: Final = 256 * 1024  # all words of one file together

# --- Workers (certification.md 6, 7) ------------------------------------------------------------
WORKER_REQUEST_SIZE_BYTES_MAX: Final = 60 * 1024  # fits a pipe
WORKER_ANSWER_SIZE_BYTES_MAX: Final = 4 * 1024**2
WORKER_ANSWERS_WAITING_MAX: Final = 4
WORKER_MESSAGE_CHARACTERS_MAX: Final = 500
WORKER_WORDS_MAX: Final = 64
WORKER_STDERR_SIZE_BYTES_MAX: Final = 256 * 1024  # kept; the rest is read and dropped
WORKER_FLOOD_SIZE_BYTES_MAX: Final = 16 * 1024**2  # then it is ended
WORKER_OPEN_FILES_MAX: Final = 256
CONVERTED_FILES_MAX: Final = 1000

# --- Golden vectors and generated inputs (certification.md 8) ------------------------------------
GOLDEN_VECTORS_MAX: Final = 64  # the suites make up to 24
GOLDEN_TENSORS_MAX: Final = 1000  # of one vector, inputs and outputs
GOLDEN_TEXT_SIZE_BYTES_MAX: Final = 4 * BLOB_SIZE_BYTES_MAX  # texts of one tensor, at equal width
GOLDEN_KEPT_SIZE_BYTES_MAX: Final = 4 * BLOB_SIZE_BYTES_MAX  # of one run, in memory
GENERATED_SIZE_BYTES_MAX: Final = 64 * 1024**2  # of one set of inputs

# --- Running models in a Worker (certification.md 7) ----------------------------------------------
WORKER_INPUT_SIZE_BYTES_MAX: Final = 256 * 1024**2  # one frame of tensors to the Worker
WORKER_OUTPUT_SIZE_BYTES_MAX: Final = 64 * 1024**2  # one frame of tensors from it
WORKER_PUT_SIZE_BYTES_MAX: Final = 1024**2  # of a model held in memory, in one frame
WORKER_RESULTS_SIZE_BYTES_MAX: Final = 1024**3  # all outputs over the rows of a data set
WORKER_RUNS_MAX: Final = 1_000_000  # timed, of one block
TENSOR_TEXTS_MAX: Final = 1024**2  # in one frame
TENSOR_TEXT_SIZE_BYTES_MAX: Final = 256 * 1024**2  # of numpy's text: as wide as its longest
PICTURE_PIXELS_MAX: Final = 64 * 1024**2
PICTURE_FILE_SIZE_BYTES_MAX: Final = 256 * 1024**2
PICTURES_SIZE_BYTES_MAX: Final = 2 * 1024**3  # decoded, in one array
PICTURES_ASKED_MAX: Final = 64  # in one request

# --- Conversion to ONNX (certification.md 3) ----------------------------------------------------
CONVERT_SOURCE_SIZE_BYTES_MAX: Final = 2 * 1024**3  # what comes out must fit one ONNX file
CONVERT_SAMPLES_SIZE_BYTES_MAX: Final = 256 * 1024**2
CONVERT_SAMPLE_ROWS_MAX: Final = 1000  # more are cut
CONVERT_FEATURES_MAX: Final = 1_000_000
CONVERT_TRUSTED_TYPES_MAX: Final = 200  # named by the seller; they fit one request
CONVERT_MEMORY_BYTES_MAX: Final = 24 * 1024**3  # of address space, of which torch takes much
CONVERT_SECONDS_MAX: Final = 1800
CONVERT_WRITTEN_FACTOR_MAX: Final = 2  # bytes written, to the size of the source
CONVERT_WRITTEN_SPARE_BYTES_MAX: Final = 2 * 1024**3  # and this much on top
KERAS_CONFIG_SIZE_BYTES_MAX: Final = 4 * 1024**2
KERAS_CONFIG_DEPTH_MAX: Final = 64
KERAS_LAYERS_MAX: Final = 5000

# --- Model cards, drafts and licence terms ------------------------------------------------------
CARD_SIZE_BYTES_MAX: Final = 256 * 1024
CARD_LINE_CHARACTERS_MAX: Final = 200
CARD_TEXT_CHARACTERS_MAX: Final = 4000
CARD_ROWS_MAX: Final = 64  # data sets, base models, risks, groups, variants
CARD_RESULTS_MAX: Final = 256
CARD_LABELS_MAX: Final = 10_000
CARD_COLUMNS_MAX: Final = 1000  # of one tensor
CARD_STEPS_MAX: Final = 32  # of a recipe, before or after the model
CARD_STEP_VALUES_MAX: Final = 256
SAMPLES_MAX: Final = 16  # inputs with outputs, in a Blob
LISTING_TITLE_CHARACTERS_MAX: Final = 120
LISTING_SUMMARY_CHARACTERS_MAX: Final = 500
LISTING_TEXT_CHARACTERS_MAX: Final = 16_000
LISTING_SECTORS_MAX: Final = 8
LISTING_TAGS_MAX: Final = 16
LISTING_TAG_CHARACTERS_MAX: Final = 40
LISTING_CONCEPTS_MAX: Final = 24
LISTING_MEDIATORS_MAX: Final = 8
LISTING_MEDIA_MAX: Final = 8
LISTING_MS_MAX: Final = 2 * 366 * 24 * 60 * 60 * 1000  # from now to valid_until; then renew/1
RELEASE_VERSION_CHARACTERS_MAX: Final = 40
RELEASE_NOTES_CHARACTERS_MAX: Final = 5000
RELEASE_BASES_MAX: Final = 8
RELEASE_TIERS_MAX: Final = 8
TIER_NAME_CHARACTERS_MAX: Final = 40
PRICE_TERMS_MAX: Final = 16
PRICE_CHARACTERS_MAX: Final = 80  # of an amount as typed
TRIAL_RUNS_MAX: Final = 10_000  # of a sealed local trial
TRIAL_DAYS_MAX: Final = 30
TRIAL_ANSWERS_PER_BUYER_MAX: Final = 400
TRIAL_ANSWERS_PER_30_DAYS_MAX: Final = 4000
DRAFT_SIZE_BYTES_MAX: Final = 4 * 1024 * 1024
DRAFT_TEXT_CHARACTERS_MAX: Final = (
    100_000  # as typed: more than a Listing may hold, so it can be said
)
DRAFT_ROWS_MAX: Final = 1000
LICENCE_TEXT_CHARACTERS_MAX: Final = 100_000
LICENCE_ID_CHARACTERS_MAX: Final = 200  # an SPDX expression or a LicenseRef
LICENCE_TERM_DAYS_MAX: Final = 36_600
LICENCE_CLAUSES_MAX: Final = 999
HUB_CARD_SIZE_BYTES_MAX: Final = 1024 * 1024
HUB_CARD_FRONT_BYTES_MAX: Final = 128 * 1024
HUB_CARD_NODES_MAX: Final = 20_000
HUB_CARD_DEPTH_MAX: Final = 16

# --- Signed statements (certification.md 10, 11) ------------------------------------------------
SUITE_SIZE_BYTES_MAX: Final = 64 * 1024  # the file of one suite
STATEMENT_SIZE_BYTES_MAX: Final = 40 * 1024  # the payload; its envelope: EVIDENCE_SIZE_BYTES_MAX
STATEMENT_CHECKS_MAX: Final = 256
STATEMENT_PERF_ROWS_MAX: Final = 64
STATEMENT_QUALITY_ROWS_MAX: Final = 64
STATEMENT_SUBJECTS_MAX: Final = 64  # files named one by one; above, the Manifest alone
STATEMENT_SUBJECT_NAMES_BYTES_MAX: Final = 16 * 1024  # of all their names, likewise
STATEMENT_LAYERS_MAX: Final = 32
STATEMENT_BLOCKS_MAX: Final = 16
STATEMENT_VALUES_MAX: Final = 16  # of one check result
STATEMENT_TEXT_CHARACTERS_MAX: Final = 200
STATEMENT_INT_MAX: Final = 2**53 - 1  # every JSON reader keeps it exactly
CERT_FILE_SIZE_BYTES_MAX: Final = 4 * 1024**2
CERT_FILE_JSON_DEPTH_MAX: Final = 16
STATEMENT_SHOWN_CHARACTERS_MAX: Final = 80  # of a value that is not as expected

# --- The content store (ledger.md 8) --------------------------------------------------------------
ARTIFACT_FILE_SIZE_BYTES_MAX: Final = 64 * 1024**3  # ARTIFACT_SIZE_BYTES_MAX bounds their sum
ARTIFACT_PATH_SIZE_BYTES_MAX: Final = 1024
SHOWN_PATH_CHARACTERS_MAX: Final = 200
SHOWN_PIECES_MAX: Final = 8
MANIFEST_SIZE_BYTES_MAX: Final = 4 * 1024**2  # travels in one answer
SOURCE_ENTRIES_MAX: Final = 100_000  # files, folders and left-out files of an imported folder
UNSYNCED_BYTES_MAX: Final = 64 * 1024**2  # written anew after a kill
SPACE_RESERVE_BYTES: Final = 1024**3  # left free on the disk
PART_MS_MAX: Final = 24 * 60 * 60 * 1000  # an unfinished import waits so long to be resumed
PART_RECORD_SIZE_BYTES_MAX: Final = 1024
UNNAMED_OBJECT_MS_MAX: Final = 60 * 60 * 1000  # a file without a row, then it is swept
OTHERS_CONTENT_BYTES_MAX: Final = 50 * 1024**3  # what is kept to seed for others
QUOTA_BYTES_MAX: Final = 1024**5  # a person may set another one up to this
UNWANTED_OBJECT_MS_MIN: Final = 60 * 60 * 1000  # younger files may be somebody's work in hand
PIECES_IN_HAND_MAX: Final = 4  # read and not yet written, in memory
PIECES_PER_CHECKPOINT_MAX: Final = 16  # between two looks at pause and cancel
LAYERS_REMEMBERED_MAX: Final = 16  # Piece layers, at most 2 MiB each

# --- This folder's own: drafts, searches, catalogue ---------------------------------------------
DRAFTS_MAX: Final = 10_000
SAVED_SEARCHES_MAX: Final = 1000
FACET_TOKENS_REMEMBERED_MAX: Final = 10_000
SAVED_SEARCH_NAME_CHARACTERS_MAX: Final = 100
SAVED_SEARCH_SIZE_BYTES_MAX: Final = 16 * 1024

# --- Trials (certification.md 12) --------------------------------------------------------------
TRIAL_COMMITTED_MAX: Final = 10_000  # inputs one buyer commits to before the grant
TRIAL_INPUT_SIZE_BYTES_MAX: Final = 8 * 1024**2
TRIAL_INPUTS_SIZE_BYTES_MAX: Final = 256 * 1024**2  # of one Trial
TRIAL_ANSWER_INTERVAL_MS: Final = 1000  # between two answers
TRIAL_STRANGER_PARAMETERS_MIN: Final = 5000  # a smaller model is learnt from its answers
TRIAL_PLANNED_ANSWERS_MAX: Final = 5000  # looked at for the test of a fixed number of answers
TRIAL_METRIC_CHARACTERS_MAX: Final = 40
TRIAL_RUNTIME_CHARACTERS_MAX: Final = 80
TRIAL_NOTE_CHARACTERS_MAX: Final = 500
TRIAL_LABEL_SIZE_BYTES_MAX: Final = 4096  # of the true answer to one input
TRIAL_SEALED_WHOLE_BYTES_MAX: Final = 256 * 1024  # larger outputs are sampled
TRIAL_SAMPLED_ELEMENTS_MAX: Final = 4096  # of one tensor
TRIAL_SEALED_SIZE_BYTES_MAX: Final = 512 * 1024  # whatever was sampled
TRIAL_SHOWN_VALUES_MAX: Final = 4096  # of one answer; the rest is not shown
TRIAL_SHOWN_CHARACTERS_MAX: Final = 64 * 1024
TRIAL_SHOWN_TEXT_CHARACTERS_MAX: Final = 8192  # of one value
TRIAL_SHOWN_TOKENS_MAX: Final = 256
TRIAL_OUTPUTS_MAX: Final = 64
TRIAL_CLOCK_BACK_MS_MAX: Final = 60 * 60 * 1000  # then the keys of a sealed trial are erased
PIECE_KEYS_SIZE_BYTES_MAX: Final = 4 * 1024**2  # 128 GiB of content
MODEL_IN_MEMORY_SIZE_BYTES_MAX: Final = 2 * 1024**3  # the graph; tensors may lie outside
MODEL_OF_FREE_MEMORY_PERCENT_MAX: Final = 60
PROOF_ANSWERS_MAX: Final = 8  # failing answers a Proof shows

# --- This folder's own: jobs, Trials, what the catalogue counts of Certificates -------------------
JOBS_OPEN_MAX: Final = 1000  # queued, under way or interrupted
JOBS_FINISHED_MAX: Final = 1000  # kept as history
JOB_REQUEST_SIZE_BYTES_MAX: Final = 256 * 1024
JOB_CHECKS_MAX: Final = 512
JOB_CHECK_SIZE_BYTES_MAX: Final = 256 * 1024  # what one finished check came to
JOB_RESULT_SIZE_BYTES_MAX: Final = 1024**2
JOB_ERROR_CHARACTERS_MAX: Final = 1000  # of one value of its error
TRIALS_HELD_MAX: Final = 10_000  # in one role
TRIAL_STEP_SIZE_BYTES_MAX: Final = 72 * 1024  # REQUEST, GRANT or CLOSE with header and key
TRIAL_DATA_SIZE_BYTES_MAX: Final = 4 * 1024**2  # what this side keeps for itself of one Trial
TRIAL_QUERY_KEPT_BYTES_MAX: Final = 8 * 1024**2 + 64 * 1024  # an input and what stands around it
TRIAL_ANSWER_KEPT_BYTES_MAX: Final = 1024**2
TRIAL_KEPT_BYTES_MAX: Final = 384 * 1024**2  # all queries and answers of one Trial

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
HEADERS_PER_HOP_FEED_MAX: Final = 2000
HEADERS_A_DAY_PER_HOP_FEED_MAX: Final = 200  # beyond those, since it was met
BODIES_PER_HOP_FEED_BYTES_MAX: Final = 64 * 1024**2
HEADERS_PER_STRANGER_FEED_MAX: Final = 2000
HEADERS_A_DAY_PER_STRANGER_FEED_MAX: Final = 50
BODIES_PER_STRANGER_FEED_BYTES_MAX: Final = 1024**2
STRANGERS_HEADERS_MAX: Final = 4_000_000  # of all strangers; whole Feeds go, the least used first
STRANGERS_BODIES_BYTES_MAX: Final = 256 * 1024**2
TIERED_IDENTITIES_MAX: Final = 100_000  # near and within two hops
FORKS_OF_UNHELD_FEEDS_MAX: Final = 20_000
FORKS_PER_AUTHOR_MAX: Final = 16  # proofs; the ones that dispute the lowest seq stay

# --- What is exchanged of Feeds, for one Peer (ledger.md 7) ------------------------------------
ARRIVALS_PER_PAGE_MAX: Final = 50_000  # looked at for one answer to what came since
MISSING_BODIES_PER_PAGE_MAX: Final = 512
MISSING_LOOKED_AT_MAX: Final = 5000  # of Bodies that are missing, for one page of those wanted
BRANCH_WINDOW_ENTRIES_MAX: Final = 500  # asked for at once to find where a branch leaves its Feed
CLAIMS_REMEMBERED_MAX: Final = 200_000  # Heads one Peer named of Feeds not held here
PEERS_REMEMBERED_MAX: Final = 256  # whose claims are remembered at once
DROPPED_FEEDS_REMEMBERED_MAX: Final = 200_000
HOUSEKEEPING_ROWS_MAX: Final = 5000  # looked at or changed in one round
FEEDS_DROPPED_AT_ONCE_MAX: Final = 50

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
VECTOR_DATA_SIZE_BYTES_MAX: Final = 64 * 1024**2  # hashed or sealed for all of one file
VECTOR_NOTE_CHARACTERS_MAX: Final = 200
FEEDS_IN_FILE_MAX: Final = 2000  # Heads of one feed file stay within one frame
ENTRIES_PER_BATCH_MAX: Final = 5000
ENTRIES_PER_SLICE: Final = 250

# --- A Release carried by a file ------------------------------------------------------------------
RELEASE_FILE_SMALL_MAX: Final = 256  # card, texts, Manifests, golden vectors
RELEASE_FILE_CERTIFICATES_MAX: Final = 200  # whose signers' Feeds and golden vectors are written
RELEASE_FILE_MEMBERS_MAX: Final = 2 * ARTIFACT_FILES_MAX + RELEASE_FILE_SMALL_MAX + 1
RELEASE_FILE_DIRECTORY_SIZE_BYTES_MAX: Final = 4 * 1024**2  # 160 for each member

# --- Fetching and seeding (ledger.md 8, network.md 5) ---------------------------------------------
TRANSFERS_OPEN_MAX: Final = 1000  # not ended
TRANSFERS_ENDED_MAX: Final = 1000  # kept as history
TRAFFIC_ROWS_MAX: Final = 100_000  # objects whose bytes in and out are counted
GATHERING_BITMAP_SIZE_BYTES_MAX: Final = 8 * 1024  # of one file of 64 GiB
GATHERING_RECORD_SIZE_BYTES_MAX: Final = GATHERING_BITMAP_SIZE_BYTES_MAX + 256
FETCHED_SMALL_BYTES_MAX: Final = 64 * 1024**2  # of one Release, beside card and Manifests
HASHES_LISTED_MAX: Final = 256  # ranges named at once
SEEDED_FILES_MAX: Final = 1_000_000  # plain files of sealed Releases whose leaf layers are given
SEEDED_PROOFS_REMEMBERED_MAX: Final = 256  # objects whose Pieces were hashed, not to do it again
SEEDED_ASKED_MAX: Final = 50  # Releases of followed sellers, asked for in one go

# --- The network (network.md 4, 10) -------------------------------------------------------------
CONNECTIONS_MAX: Final = 200
NODE_CONNECTIONS_MAX: Final = 1000  # of a program without a window
CONNECTIONS_PER_PEER_MAX: Final = 2
CONNECTIONS_PER_ADDRESS_MAX: Final = 8  # of one IPv4 address, or of one IPv6 /64
CONNECTIONS_PER_LAN_ADDRESS_MAX: Final = 32
CALLS_PER_PEER_MAX: Final = 32
CALLS_MAX: Final = 256
STREAMS_PER_PEER_MAX: Final = 64  # inbound, of all protocols together
CONNECTION_STREAMS_MAX: Final = 384  # both ways; who opens more is cut off
STREAM_WINDOW_BYTES_MAX: Final = 2 * 1024**2
CONNECTION_HELD_BYTES_MAX: Final = 8 * 1024**2  # came and was not read yet
CONNECTIONS_HELD_BYTES_MAX: Final = 256 * 1024**2  # of all connections together
NEGOTIATION_SIZE_BYTES_MAX: Final = 1024  # one line of multistream-select
ADVERTISED_ADDRESSES_MAX: Final = 32  # of one Peer, in what identify told
ADVERTISED_PROTOCOLS_MAX: Final = 64
ADVERTISED_PROTOCOL_CHARACTERS_MAX: Final = 128
STREAM_TAIL_SIZE_BYTES_MAX: Final = 16 * 1024**2
MULTIADDR_CHARACTERS_MAX: Final = 256
PEERS_KEPT_MAX: Final = 5000
PEER_ADDRESSES_MAX: Final = 8
PEER_ROLES_MAX: Final = 8
PROGRAM_CHARACTERS_MAX: Final = 60  # what a Peer calls its program

# --- Peers: who is out there (network.md 4, 6) ---------------------------------------------------
STATUS_FRAME_SIZE_BYTES_MAX: Final = 4096  # of a question and of a HELLO
STATUS_PEERS_MAX: Final = 32  # rows of one answer
STATUS_ADDRESSES_MAX: Final = 4  # of one row, and of a HELLO
STATUS_ANSWER_SIZE_BYTES_MAX: Final = 36 * 1024  # 32 rows of the longest addresses: 34,496
STATUS_FRAME_ITEMS_MAX: Final = 512  # values in one frame; 32 full rows have 258
STATUS_WORD_CHARACTERS_MAX: Final = 32  # a role, the code of a refusal
STATUS_PEERS_CLAIMED_MAX: Final = 2**31 - 1  # how many a Peer says it is connected to
INVITATION_SIZE_BYTES_MAX: Final = 1024
PEER_NAME_CHARACTERS_MAX: Final = PROFILE_NAME_CHARACTERS_MAX
PEERS_LISTED_MAX: Final = 1000  # on the person's own list, which never makes room by itself
NEAR_IDENTITIES_MAX: Final = 5000  # followed ones and those around them, as far as is looked
PEERS_HEARD_MAX: Final = 512  # that others told of and that were not dialled yet
PEERS_HEARD_OF_ONE_MAX: Final = 64  # of those, from one teller
CONDUCTS_REMEMBERED_MAX: Final = 10_000  # Peers something is held against
REACH_CLAIMS_MAX: Final = 64  # Peers that say where they see us

# --- Gossip (network.md 8) ------------------------------------------------------------------------
HINT_SIZE_BYTES_MAX: Final = 2048
HINT_AUTHORS_REMEMBERED_MAX: Final = 10_000
HINTS_WAITING_MAX: Final = 1000  # heard and not looked at yet; the oldest is dropped
REACHED_AT_ONCE_MAX: Final = 8  # Devices dialled because somebody is needed now
SEEDED_PROVIDED_MAX: Final = 500  # Releases we tell the DHT of
DHT_KEYS_MAX: Final = 50_000  # of others, each with up to 20 who have it
DHT_PROVIDERS_ASKED_MAX: Final = 20
RELAY_CIRCUITS_MAX: Final = 8  # carried for others at once
RELAY_RESERVATIONS_MAX: Final = 64
RELAY_SECONDS_MAX: Final = 3600  # of one circuit
RELAY_BYTES_MAX: Final = 100 * 1024**2  # through one circuit
LAN_SERVICES_MAX: Final = 256  # names heard on the LAN and not looked at yet

# --- Synchronising (ledger.md 7) ----------------------------------------------------------------
SYNC_HEADS_MAX: Final = 4096  # rows of one frame
SYNC_RECON_ROUNDS_MAX: Final = 8
SYNC_RANGES_MAX: Final = 256  # of one WANT
SYNC_ENTRIES_MAX: Final = 2000  # of one WANT
SYNC_WANTS_OPEN_MAX: Final = 4
SYNC_BODIES_MAX: Final = 512  # of one WANT_BODIES
SYNC_INTEREST_AUTHORS_MAX: Final = 5000
SYNC_INTEREST_KINDS_MAX: Final = 64
SYNC_OPEN_BYTES_MAX: Final = 8 * 1024**2  # asked of one Peer and not come yet
SYNC_BATCH_ENTRIES_MAX: Final = 500  # of one transaction beside a window
SYNC_FIRST_BATCH_ENTRIES_MAX: Final = 2000  # of one transaction at the first sync with a Peer
SYNC_FRAME_ITEMS_MAX: Final = 100_000  # values in one frame; the longest RECON has 98,307
SYNC_RECON_RANGES_MAX: Final = 16_384  # of one RECON
SYNC_RECON_ROWS_MAX: Final = 8192  # of all lists in one RECON
SYNC_ANSWER_SIZE_BYTES_MAX: Final = 2 * 1024**2  # of all frames that answer one WANT
SYNC_FRUITLESS_MAX: Final = 8  # answers in a row that bring nothing of what was announced
SYNC_FORKS_MAX: Final = 256  # proofs in one session, each way
SYNC_DELIVERIES_OPEN_MAX: Final = 16  # handed over and not acknowledged
SYNC_OWN_CLAIMS_MAX: Final = 8  # what one Peer may claim of our own Feed in one session
SYNC_HINTS_WAITING_MAX: Final = 64  # of one session, not looked at yet
SYNC_FOLLOWED_MAX: Final = 4096  # ranges asked for on the way, of one page of Heads
SYNC_HEARD_MAX: Final = 1024  # Heads a Peer told us lately, which are not told back
SYNC_SESSIONS_PULLING_FULLY_MAX: Final = 8  # more of them at once ask for less each
SYNC_RECONCILING_MAX: Final = 2  # sessions at once; a frontier of 200,000 Feeds takes 50 MB

# --- Pieces on the wire (network.md 4, 5) ---------------------------------------------------------
PIECE_OBJECT_SIZE_BYTES_MAX: Final = 1024**4  # of one file that is fetched or seeded
PIECE_BITMAP_SIZE_BYTES_MAX: Final = 128 * 1024
PIECE_FRAME_SIZE_BYTES_MAX: Final = PIECE_BITMAP_SIZE_BYTES_MAX + 256
PIECE_FRAME_ITEMS_MAX: Final = 16  # values in one frame
PIECE_HASHES_MAX: Final = 32_768  # in one answer
PIECE_GETS_OPEN_MAX: Final = 8  # on one stream
PIECE_CALLS_OPEN_MAX: Final = 32  # on one stream, GETs too
PIECE_WANT_HAVE_MAX: Final = 1024  # objects whose last HAVE one stream remembers
PIECE_STREAMS_PER_PEER_MAX: Final = 2
PIECE_STREAMS_MAX: Final = 16  # inbound, of all Peers
PIECES_OPEN_MAX: Final = 64  # asked for and not come, of one Artifact
SEEDERS_KNOWN_MAX: Final = 16  # of one Artifact
SEEDERS_ACTIVE_MAX: Final = 5
PIECES_BROKEN_MAX: Final = 8  # beginnings kept of Pieces whose sender was lost, of one Artifact
PIECE_PUTS_MAX: Final = 8  # Pieces checked and written in one go
TRANSFERS_RUNNING_MAX: Final = 4  # that have somebody to fetch from
TRANSFERS_FETCHED_MAX: Final = 16  # with those that search
PIECES_QUEUED_BYTES_MAX: Final = 32 * 1024**2  # come and not written yet; then nothing is asked

# --- Post and Mailboxes (network.md 9) -----------------------------------------------------------
POST_FRAME_ITEMS_MAX: Final = 4096  # values in one frame
POST_ITEMS_MAX: Final = 512  # ids or items in one message
POST_STREAMS_PER_PEER_MAX: Final = 2
POST_STREAMS_MAX: Final = 64  # inbound, of all Peers
POST_PER_PEER_AND_MINUTE_MAX: Final = 60  # of a Peer that is not of our Identity
POST_ASKS_PER_STRANGER_MAX: Final = 5  # a day; what begins something
POST_PER_STRANGER_MAX: Final = 200  # a day, of any sort
POST_OF_STRANGERS_MAX: Final = 2000  # a day, of all of them together
POST_STAMP_SIZE_BYTES_MAX: Final = 64
POST_SHOWN_MAX: Final = 1000  # deliveries in one answer to a person
MAILBOXES_PER_READER_MAX: Final = 4  # that one message is offered to
MAILBOX_ITEMS_PER_SENDER_MAX: Final = 32
MAILBOX_SIZE_PER_SENDER_BYTES_MAX: Final = 1024**2
MAILBOX_ITEMS_PER_READER_MAX: Final = 1000
MAILBOX_SIZE_PER_READER_BYTES_MAX: Final = 32 * 1024**2
MAILBOX_SIZE_BYTES_MAX: Final = 1024**3
MAILBOX_OF_STRANGERS_DIVISOR: Final = 10  # they have a tenth of each of the five
MAILBOX_MS_MAX: Final = 30 * 24 * 60 * 60 * 1000
MAILBOX_OF_STRANGERS_MS_MAX: Final = 3 * 24 * 60 * 60 * 1000

# --- Signed answers on the wire (certification.md 12) --------------------------------------------
TRIAL_CALL_ITEMS_MAX: Final = 8  # values in one frame
TRIAL_CALL_FRAME_SIZE_BYTES_MAX: Final = 256
TRIAL_STREAMS_PER_PEER_MAX: Final = 2
TRIAL_STREAMS_MAX: Final = 8  # each may hold a tail
TRIALS_ANSWERED_AT_ONCE_MAX: Final = 2  # each has a Worker of its own
TRIALS_WAITING_MAX: Final = 8  # more are told to come again

# --- Trials carried by files, and bake-offs -----------------------------------------------------
TRIAL_FILE_SIZE_BYTES_MAX: Final = 96 * 1024**2  # a Trial takes as many files as it needs
TRIAL_FILE_FRAME_SIZE_BYTES_MAX: Final = 20 * 1024**2  # a padded Blob, or an input of 8 MiB
TRIAL_FILE_ENTRIES_MAX: Final = 100_000
TRIAL_FILE_BLOBS_MAX: Final = 16
TRIAL_FILE_MESSAGES_MAX: Final = 1000
TRIAL_FILE_FRAME_ITEMS_MAX: Final = 16  # values of one frame
TRIAL_MESSAGE_ITEMS_MAX: Final = 20_000  # values of one query or answer, and of a warranty's parts
TRIAL_INPUT_ITEMS_MAX: Final = 100_000  # texts of one input, and what stands around them
BAKEOFF_CANDIDATES_MAX: Final = 20
WARRANTY_FILE_SIZE_BYTES_MAX: Final = 40 * 1024**2  # two Blobs, and the Entries around them
WARRANTY_FILE_ENTRIES_MAX: Final = 1000

# --- Data sets and what is measured on them (certification.md 9, 12) ------------------------------
DATASET_ROWS_MAX: Final = 10_000_000
DATASET_COLUMNS_MAX: Final = 16_384  # of a file, used or not
DATASET_SIZE_BYTES_MAX: Final = 64 * 1024**3  # of a CSV; it is streamed
DATASET_MEMORY_BYTES_MAX: Final = 2 * 1024**3  # of the arrays that are made of it
DATASET_LINE_SIZE_BYTES_MAX: Final = 4 * 1024**2
DATASET_FIELD_CHARACTERS_MAX: Final = 64 * 1024
DATASET_VALUES_MAX: Final = 1_000_000  # different texts of one column
DATASET_ARRAYS_MAX: Final = 256  # of an NPZ
DATASET_IMAGES_MAX: Final = 200_000
DATASET_IMAGE_SIZE_BYTES_MAX: Final = 64 * 1024**2  # of one file; pixels are the Worker's bound
DATASET_MAPPING_SIZE_BYTES_MAX: Final = 256 * 1024
DATASET_SLICES_MAX: Final = 64  # values told apart; the rest is counted
CLASSES_MAX: Final = 10_000  # of a model's scores
COST_MATRIX_SIZE_BYTES_MAX: Final = 1024 * 1024
COST_LABELS_MAX: Final = 256

# --- Running a model on one's own rows ---------------------------------------------------------
RUN_LINE_SIZE_BYTES_MAX: Final = 4 * 1024**2  # of one row as JSON
RUN_JSON_SIZE_BYTES_MAX: Final = 64 * 1024**2  # of a file that is one JSON value; lines have no end

# --- This person's own files and terminal -----------------------------------------------------
SETTINGS_SIZE_BYTES_MAX: Final = 64 * 1024
LOG_SIZE_BYTES_MAX: Final = 1_000_000  # of one file, before the next is begun
SECRET_FILE_SIZE_BYTES_MAX: Final = 16 * 1024  # a passphrase or a phrase, and its line end
PIPED_CHARACTERS_MAX: Final = 64 * 1024  # of a phrase or passphrase on standard input

# --- The process that holds a folder, and what asks it (architecture.md 6) ------------------------
HOLDER_MESSAGE_BYTES_MAX: Final = 1024 * 1024  # of one message, either way
HOLDER_FILE_SIZE_BYTES_MAX: Final = 4096  # where it listens, and its key
HOLDER_CLIENTS_MAX: Final = 16  # that it serves at once
NODE_EVENTS_WAITING_MAX: Final = 10_000  # not printed yet; the oldest is dropped

# --- What this program keeps in memory or open for itself ------------------------------------
SEEDS_PER_BODY_MAX: Final = 512
BACKUP_WRAPPING_BYTES_MAX: Final = 128  # DAG-CBOR around the payload: id, index, kind, lengths
LOCK_HOLDER_CHARACTERS_MAX: Final = 100
LOCK_SINCE_MS_MAX: Final = 253_402_300_799_000  # the last second of the year 9999
STORE_READERS_MAX: Final = 4
EXECUTOR_WAITING_MAX: Final = 1000  # pieces of work on one kind of thread
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
assert SYNC_WANTS_OPEN_MAX * SYNC_ANSWER_SIZE_BYTES_MAX == SYNC_OPEN_BYTES_MAX
assert PIECE_OBJECT_SIZE_BYTES_MAX <= 8 * PIECE_BITMAP_SIZE_BYTES_MAX * PIECE_SIZE_BYTES
assert 32 * PIECE_HASHES_MAX <= STREAM_TAIL_SIZE_BYTES_MAX
assert SEARCH_SORTED_MAX < SEARCH_EXAMINED_MAX < SEARCH_LISTED_MAX
assert SEARCH_BOOSTED_MAX < SEARCH_RANKED_MAX < SEARCH_COUNTED_MAX
