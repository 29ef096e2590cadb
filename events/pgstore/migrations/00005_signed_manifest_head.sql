-- +goose Up

-- The end of the chain of packages is signed, see evidence.Head, so that a chain
-- cut off or an old end put back shows. Without a signature are the chains of
-- servers that have sealed nothing since this migration.
ALTER TABLE manifest_head ADD COLUMN signed_at timestamptz,
    ADD COLUMN key_id text NOT NULL DEFAULT '',
    ADD COLUMN signature bytea NOT NULL DEFAULT '',
    ADD CONSTRAINT manifest_head_signed CHECK ((signed_at IS NULL) = (signature = '') AND (key_id = '') = (signature = ''));

-- A file that was gone and is back, as fsck finds when a disk was mounted again.
-- The log of deletions keeps the deletion and has the return beside it.
ALTER TABLE deletion DROP CONSTRAINT deletion_reason_check,
    ADD CONSTRAINT deletion_reason_check CHECK (reason IN ('age', 'quota', 'disk', 'request', 'missing', 'orphan', 'returned'));

-- +goose Down
ALTER TABLE deletion DISABLE TRIGGER append_only;
DELETE FROM deletion WHERE reason = 'returned';
ALTER TABLE deletion ENABLE TRIGGER append_only;
ALTER TABLE deletion DROP CONSTRAINT deletion_reason_check,
    ADD CONSTRAINT deletion_reason_check CHECK (reason IN ('age', 'quota', 'disk', 'request', 'missing', 'orphan'));
ALTER TABLE manifest_head DROP COLUMN signed_at, DROP COLUMN key_id, DROP COLUMN signature;
