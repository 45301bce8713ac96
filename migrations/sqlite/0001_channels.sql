-- Channels, the keys that publish to them, and the tokens that administer them.
-- Secrets that people hold (stream keys, API tokens) are stored as BLAKE3 hashes of 32
-- random bytes: nothing here lets a reader publish or log in. Secrets that the service
-- itself uses (channel keys, ticket key) are stored as they are; the file is the owner's
-- alone. Times are unix seconds.

CREATE TABLE channels (
    -- Random, what pieces and tickets carry.
    id                BLOB    NOT NULL,
    -- The slug in URLs.
    name              TEXT    NOT NULL,
    -- Ed25519 secret: certifies the epoch keys of encoders.
    secret_key        BLOB    NOT NULL,
    -- D: from ingest stamp to release.
    play_out_delay_ms INTEGER NOT NULL,
    -- Whether viewers relay: required, allowed or off.
    share             TEXT    NOT NULL,
    created_at        INTEGER NOT NULL,
    CONSTRAINT channels_pk                PRIMARY KEY (id),
    CONSTRAINT channels_name_unique       UNIQUE (name),
    CONSTRAINT channels_id_length         CHECK (length(id) = 16),
    CONSTRAINT channels_secret_key_length CHECK (length(secret_key) = 32),
    CONSTRAINT channels_delay_range       CHECK (play_out_delay_ms BETWEEN 500 AND 30000),
    CONSTRAINT channels_share_known       CHECK (share IN ('required', 'allowed', 'off'))
) STRICT;

CREATE TABLE stream_keys (
    id           INTEGER NOT NULL,
    channel_id   BLOB    NOT NULL,
    hash         BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    -- Null until a broadcaster came with it.
    last_used_at INTEGER,
    -- Null while it is good.
    revoked_at   INTEGER,
    CONSTRAINT stream_keys_pk          PRIMARY KEY (id),
    CONSTRAINT stream_keys_channel_fk  FOREIGN KEY (channel_id) REFERENCES channels (id) ON DELETE CASCADE,
    CONSTRAINT stream_keys_hash_unique UNIQUE (hash),
    CONSTRAINT stream_keys_hash_length CHECK (length(hash) = 32)
) STRICT;

CREATE INDEX stream_keys_channel ON stream_keys (channel_id);

CREATE TABLE api_tokens (
    id           INTEGER NOT NULL,
    hash         BLOB    NOT NULL,
    created_at   INTEGER NOT NULL,
    last_used_at INTEGER,
    revoked_at   INTEGER,
    CONSTRAINT api_tokens_pk          PRIMARY KEY (id),
    CONSTRAINT api_tokens_hash_unique UNIQUE (hash),
    CONSTRAINT api_tokens_hash_length CHECK (length(hash) = 32)
) STRICT;

-- Keys the service signs with, one for each purpose ('ticket').
CREATE TABLE signing_keys (
    purpose    TEXT    NOT NULL,
    secret     BLOB    NOT NULL,
    created_at INTEGER NOT NULL,
    CONSTRAINT signing_keys_pk            PRIMARY KEY (purpose),
    CONSTRAINT signing_keys_secret_length CHECK (length(secret) = 32)
) STRICT;
