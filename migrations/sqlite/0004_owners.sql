-- Channels have owners, and words about them; keys and tokens have names. What the station
-- itself made (its first channel, the operator's tokens) has no owner.

ALTER TABLE channels ADD COLUMN owner_id BLOB CONSTRAINT channels_owner_fk REFERENCES accounts (id) ON DELETE CASCADE;
ALTER TABLE channels ADD COLUMN title TEXT NOT NULL DEFAULT '' CONSTRAINT channels_title_length CHECK (length(title) <= 80);
ALTER TABLE channels ADD COLUMN description TEXT NOT NULL DEFAULT '' CONSTRAINT channels_description_length CHECK (length(description) <= 1000);

CREATE INDEX channels_owner ON channels (owner_id);

ALTER TABLE stream_keys ADD COLUMN name TEXT NOT NULL DEFAULT '' CONSTRAINT stream_keys_name_length CHECK (length(name) <= 60);

ALTER TABLE api_tokens ADD COLUMN account_id BLOB CONSTRAINT api_tokens_account_fk REFERENCES accounts (id) ON DELETE CASCADE;
ALTER TABLE api_tokens ADD COLUMN name TEXT NOT NULL DEFAULT '' CONSTRAINT api_tokens_name_length CHECK (length(name) <= 60);
-- What it may, with blanks between: 'read', 'channels', 'keys'. The operator's may all.
ALTER TABLE api_tokens ADD COLUMN scopes TEXT NOT NULL DEFAULT 'read channels keys' CONSTRAINT api_tokens_scopes_length CHECK (length(scopes) <= 60);

CREATE INDEX api_tokens_account ON api_tokens (account_id);
