-- The beta: who signed up, who was let in, and the mail between us and them. Passwords are
-- stored as Argon2id, the rest of what people hold (links, invitations, log-ins) as BLAKE3
-- of random bytes: nothing here lets a reader log in or answer a mail. Times are unix
-- seconds unless a name says otherwise.

CREATE TABLE accounts (
    -- Random.
    id              BYTEA NOT NULL,
    -- As its owner writes it.
    email           TEXT   NOT NULL,
    -- The same in lower case: a mailbox has one account.
    email_key       TEXT   COLLATE "C" NOT NULL,
    -- A PHC string.
    password_hash   TEXT   NOT NULL,
    -- 1 when it administers the station.
    administrator   BIGINT NOT NULL,
    -- When the link in the mail was followed; the order of the waiting list.
    confirmed_at_ms BIGINT NOT NULL,
    -- Null on the waiting list.
    approved_at     BIGINT,
    CONSTRAINT accounts_pk                   PRIMARY KEY (id),
    CONSTRAINT accounts_email_unique         UNIQUE (email_key),
    CONSTRAINT accounts_id_length            CHECK (length(id) = 16),
    CONSTRAINT accounts_email_length         CHECK (length(email) <= 254),
    CONSTRAINT accounts_password_hash_length CHECK (length(password_hash) <= 255),
    CONSTRAINT accounts_administrator_range  CHECK (administrator IN (0, 1))
);

-- "How many are before me" reads this alone.
CREATE INDEX accounts_waiting ON accounts (confirmed_at_ms, id) WHERE approved_at IS NULL;

-- Codes that let in without waiting.
CREATE TABLE invitations (
    id         BIGINT GENERATED ALWAYS AS IDENTITY,
    hash       BYTEA NOT NULL,
    -- For whom, in the operator's words.
    note       TEXT   NOT NULL,
    -- How many accounts it lets in, and how many it did.
    uses       BIGINT NOT NULL,
    used       BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT invitations_pk          PRIMARY KEY (id),
    CONSTRAINT invitations_hash_unique UNIQUE (hash),
    CONSTRAINT invitations_hash_length CHECK (length(hash) = 32),
    CONSTRAINT invitations_note_length CHECK (length(note) <= 200),
    CONSTRAINT invitations_uses_range  CHECK (uses BETWEEN 1 AND 10000 AND used BETWEEN 0 AND uses)
);

-- The last three letters that strangers had sent to a mailbox: a fourth within the hour is
-- not written. Older rows are swept away.
CREATE TABLE mailboxes (
    email_key TEXT   COLLATE "C" NOT NULL,
    last_1    BIGINT NOT NULL,
    last_2    BIGINT NOT NULL,
    last_3    BIGINT NOT NULL,
    CONSTRAINT mailboxes_pk PRIMARY KEY (email_key)
);

CREATE INDEX mailboxes_age ON mailboxes (last_1);

-- Mail to be sent, sent, or given up; and what following its link will do. A sign-up is no
-- more than a letter until its link is followed.
CREATE TABLE letters (
    id            BIGINT GENERATED ALWAYS AS IDENTITY,
    -- confirm: makes an account; known: says that there is one; reset: a new password;
    -- approved: says that the waiting is over.
    purpose       TEXT   NOT NULL,
    email         TEXT   NOT NULL,
    email_key     TEXT   COLLATE "C" NOT NULL,
    -- Of 'confirm': the password that the account will have.
    password_hash TEXT,
    -- Of 'confirm': the invitation that came with it.
    invitation_id BIGINT,
    -- Of the others: whose.
    account_id    BYTEA,
    created_at    BIGINT NOT NULL,
    attempts      BIGINT NOT NULL,
    -- Also until when a sender that took it has it for itself.
    next_try_at   BIGINT NOT NULL,
    -- Null until a mail server took it.
    sent_at       BIGINT,
    -- Null unless it cannot be sent at all.
    gave_up_at    BIGINT,
    -- Null until its link was followed.
    used_at       BIGINT,
    CONSTRAINT letters_pk            PRIMARY KEY (id),
    CONSTRAINT letters_account_fk    FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE,
    CONSTRAINT letters_invitation_fk FOREIGN KEY (invitation_id) REFERENCES invitations (id) ON DELETE SET NULL,
    CONSTRAINT letters_purpose_known CHECK (purpose IN ('confirm', 'known', 'reset', 'approved')),
    CONSTRAINT letters_email_length  CHECK (length(email) <= 254)
);

CREATE INDEX letters_due ON letters (next_try_at) WHERE sent_at IS NULL AND gave_up_at IS NULL;
CREATE INDEX letters_age ON letters (created_at);
CREATE INDEX letters_account ON letters (account_id);

-- What stands in a letter's link. Made when it is sent, so that the link itself is nowhere
-- but in the mail; a letter that was sent again has several.
CREATE TABLE letter_tokens (
    hash       BYTEA NOT NULL,
    letter_id  BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    CONSTRAINT letter_tokens_pk          PRIMARY KEY (hash),
    CONSTRAINT letter_tokens_letter_fk   FOREIGN KEY (letter_id) REFERENCES letters (id) ON DELETE CASCADE,
    CONSTRAINT letter_tokens_hash_length CHECK (length(hash) = 32)
);

CREATE INDEX letter_tokens_letter ON letter_tokens (letter_id);

-- Browsers that are logged in.
CREATE TABLE logins (
    -- What revoking names.
    id         BIGINT GENERATED ALWAYS AS IDENTITY,
    -- Of what the browser's cookie holds.
    hash       BYTEA NOT NULL,
    account_id BYTEA NOT NULL,
    -- "Firefox on Linux".
    agent      TEXT   NOT NULL,
    created_at BIGINT NOT NULL,
    -- To some minutes.
    seen_at    BIGINT NOT NULL,
    CONSTRAINT logins_pk           PRIMARY KEY (id),
    CONSTRAINT logins_hash_unique  UNIQUE (hash),
    CONSTRAINT logins_account_fk   FOREIGN KEY (account_id) REFERENCES accounts (id) ON DELETE CASCADE,
    CONSTRAINT logins_hash_length  CHECK (length(hash) = 32),
    CONSTRAINT logins_agent_length CHECK (length(agent) <= 80)
);

CREATE INDEX logins_account ON logins (account_id);
CREATE INDEX logins_seen ON logins (seen_at);
