-- What each viewer of a channel uploads at most, in bits a second; null: as it likes.

ALTER TABLE channels ADD COLUMN upload_max_bps INTEGER CONSTRAINT channels_upload_range CHECK (upload_max_bps BETWEEN 100000 AND 1000000000);
