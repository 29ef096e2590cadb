-- +goose Up

-- An endpoint that is deleted is gone for everybody at once. Its row stays until
-- its deliveries and attempts, of which there may be millions, are gone as well:
-- they go in small transactions, and nothing waits for them.
ALTER TABLE endpoint ADD COLUMN deleted_at timestamptz,
    ADD CONSTRAINT endpoint_deleted_takes_nothing CHECK (deleted_at IS NULL OR NOT enabled);

-- +goose Down
DELETE FROM endpoint WHERE deleted_at IS NOT NULL;
ALTER TABLE endpoint DROP COLUMN deleted_at;
