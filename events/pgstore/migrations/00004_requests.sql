-- +goose Up

-- An endpoint that is deleted is gone for everybody at once. Its row stays until
-- its deliveries, of which there may be millions, are gone as well: they go in
-- small transactions, and nothing waits for them. Its attempts stay in the log: a
-- later endpoint of the name has those behind log_after.
ALTER TABLE endpoint ADD COLUMN deleted_at timestamptz,
    ADD COLUMN log_after bigint NOT NULL DEFAULT 0,
    ADD CONSTRAINT endpoint_deleted_takes_nothing CHECK (deleted_at IS NULL OR NOT enabled);

-- idempotency remembers for a day what became of every request that had an
-- Idempotency-Key, whatever it was about. The answer is missing while something
-- is done that takes longer than a transaction may. The audit chain, which once
-- remembered keys for itself, only notes them.
ALTER TABLE idempotency ALTER COLUMN answer DROP NOT NULL,
    ADD COLUMN claim uuid,     -- of who does it; null when nobody does
    ADD COLUMN progress jsonb; -- how far it is, of what is done in parts

-- What a request of before was about cannot be told from what was kept of it: its
-- key is refused. What people did to events is in the audit chain with all that
-- makes the name of a request, see request.what: the JSON of who, what, to what
-- and how, as Go writes it.
UPDATE idempotency SET what = 'unknown';
INSERT INTO idempotency (key, what, at, answer)
SELECT idempotency_key, action || ' of ' || subject || ' by ' || actor || ' #' || encode(sha256(convert_to(
        '[' || replace(replace(replace(to_json(actor)::text, '<', '\u003c'), '>', '\u003e'), '&', '\u0026')
        || ',"' || action || '","' || subject || '",'
        || substr(detail_text, length('{"request":') + 1, strpos(detail_text, ',"sequence":') - length('{"request":') - 1) || ']', 'UTF8')), 'hex'),
    at, jsonb_build_object('Number', number, 'Sequence', detail -> 'sequence')
FROM audit
WHERE idempotency_key IS NOT NULL AND at > clock_timestamp() - interval '1 day'
    AND action LIKE 'event.%' AND detail_text LIKE '{"request":{%},"sequence":%'
ON CONFLICT DO NOTHING; -- a key that was used for two requests stays refused
ALTER TABLE audit DROP CONSTRAINT audit_idempotency_key_key;

-- +goose Down
ALTER TABLE audit DISABLE TRIGGER append_only;
UPDATE audit a SET idempotency_key = NULL
    WHERE EXISTS (SELECT FROM audit b WHERE b.idempotency_key = a.idempotency_key AND b.number < a.number);
ALTER TABLE audit ENABLE TRIGGER append_only;
ALTER TABLE audit ADD CONSTRAINT audit_idempotency_key_key UNIQUE (idempotency_key);
DELETE FROM idempotency WHERE answer IS NULL;
ALTER TABLE idempotency ALTER COLUMN answer SET NOT NULL, DROP COLUMN claim, DROP COLUMN progress;
DELETE FROM endpoint WHERE deleted_at IS NOT NULL;
ALTER TABLE endpoint DROP COLUMN deleted_at, DROP COLUMN log_after;
