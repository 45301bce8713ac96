-- The running instances of each role, each with a lease that it renews. A row may be lost
-- at any time: whoever lives registers again.

CREATE TABLE instances (
    -- 16 random bytes in hex, chosen by the instance when it starts.
    id            TEXT   NOT NULL,
    -- What it does: ingest, encoder, seeder, tracker, ...
    role          TEXT   NOT NULL,
    -- Where other services call it, http://host:port.
    grpc          TEXT   NOT NULL,
    -- Where viewers reach it, https://host; empty without.
    public_url    TEXT   NOT NULL,
    -- Where viewers reach its UDP socket, ip:port, with commas between; empty without.
    udp           TEXT   NOT NULL,
    -- In what its role counts.
    capacity      BIGINT NOT NULL,
    -- Of the program, 1.2.3.
    version       TEXT   NOT NULL,
    -- 1 when it gets nothing new.
    draining      BIGINT NOT NULL,
    -- Unix milliseconds by the database's clock: dead from then on.
    expires_at_ms BIGINT NOT NULL,
    CONSTRAINT instances_pk                PRIMARY KEY (id),
    CONSTRAINT instances_id_length         CHECK (length(id) = 32),
    CONSTRAINT instances_role_length       CHECK (length(role) BETWEEN 1 AND 16),
    CONSTRAINT instances_grpc_length       CHECK (length(grpc) <= 255),
    CONSTRAINT instances_public_url_length CHECK (length(public_url) <= 255),
    CONSTRAINT instances_udp_length        CHECK (length(udp) <= 511),
    CONSTRAINT instances_capacity_range    CHECK (capacity >= 0),
    CONSTRAINT instances_version_length    CHECK (length(version) <= 32),
    CONSTRAINT instances_draining_range    CHECK (draining IN (0, 1))
);

CREATE INDEX instances_role ON instances (role, expires_at_ms);
