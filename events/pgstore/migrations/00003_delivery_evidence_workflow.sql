-- +goose Up

-- step says what a change was about. A state is reached once; people may do
-- something to an event any number of times.
ALTER TABLE event_change ADD COLUMN step text;
ALTER TABLE event_change DISABLE TRIGGER append_only;
UPDATE event_change SET step = state;
ALTER TABLE event_change ENABLE TRIGGER append_only;
ALTER TABLE event_change ALTER COLUMN step SET NOT NULL,
    ADD CONSTRAINT event_change_step CHECK (step IN ('raised', 'cleared', 'evidence', 'workflow')),
    DROP CONSTRAINT event_change_event_id_state_key;
CREATE UNIQUE INDEX event_change_once ON event_change (event_id, step) WHERE step <> 'workflow';
CREATE INDEX event_change_event ON event_change (event_id);
-- workflow is what the event's workflow became by the change, if it was about
-- that: {"state", "assignee", "verdict"}.
ALTER TABLE event_change ADD COLUMN workflow jsonb,
    ADD CONSTRAINT event_change_workflow CHECK ((step = 'workflow') = (workflow IS NOT NULL));

ALTER TABLE event ADD CONSTRAINT event_workflow_state CHECK (workflow_state IN ('new', 'acknowledged', 'assigned', 'closed')),
    ADD COLUMN acknowledged_at timestamptz, -- first time a person saw to it
    ADD COLUMN closed_at timestamptz,
    ADD CONSTRAINT event_verdict_when_closed CHECK ((workflow_state = 'closed') = (verdict IS NOT NULL)),
    ADD CONSTRAINT event_assignee_when_assigned CHECK (workflow_state <> 'assigned' OR assignee IS NOT NULL);
CREATE INDEX event_workflow ON event (workflow_state, occurred_at DESC, id DESC);
CREATE INDEX event_assignee ON event (assignee, occurred_at DESC, id DESC) WHERE assignee IS NOT NULL;

-- endpoint is where deliveries go. spec holds all but the secrets and what is
-- learnt while delivering. Its lease makes one process at a time deliver to it,
-- which is what keeps the order; the epoch fences one that has lost it.
CREATE TABLE endpoint (
    name            text PRIMARY KEY CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    spec            jsonb NOT NULL CHECK (jsonb_typeof(spec) = 'object'),
    version         integer NOT NULL CHECK (version > 0),
    enabled         boolean NOT NULL,
    disabled_why    text NOT NULL DEFAULT '', -- "gone" after a 410, "admin"
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    failures        integer NOT NULL DEFAULT 0 CHECK (failures >= 0), -- in a row
    failing_since   timestamptz,
    retry_at        timestamptz, -- no attempt before
    last_success_at timestamptz,
    last_attempt_at timestamptz,
    last_error      text NOT NULL DEFAULT '',
    heartbeat_at    timestamptz,
    lease_owner     text NOT NULL DEFAULT '',
    lease_until     timestamptz,
    lease_epoch     bigint NOT NULL DEFAULT 0
);

-- endpoint_secret holds signing secrets, sealed with the server's key. Until
-- expires_at an old one signs beside the new one.
CREATE TABLE endpoint_secret (
    id         text PRIMARY KEY CHECK (id <> ''),
    endpoint   text NOT NULL REFERENCES endpoint ON DELETE CASCADE,
    scheme     text NOT NULL CHECK (scheme IN ('v1', 'v1a')),
    sealed     bytea NOT NULL,
    public     text NOT NULL DEFAULT '', -- whpk_… of v1a
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz
);
CREATE INDEX endpoint_secret_endpoint ON endpoint_secret (endpoint);

-- outbox_message is what is said of one change: the event as it was then.
CREATE TABLE outbox_message (
    sequence    bigint PRIMARY KEY CHECK (sequence > 0),
    id          text NOT NULL UNIQUE CHECK (id <> ''), -- webhook-id, the same in every attempt and replay
    event_id    uuid NOT NULL,
    step        text NOT NULL CHECK (step IN ('raised', 'cleared', 'evidence', 'workflow')),
    occurred_at timestamptz NOT NULL,
    created_at  timestamptz NOT NULL,
    event       jsonb NOT NULL CHECK (jsonb_typeof(event) = 'object')
);
CREATE INDEX outbox_message_event ON outbox_message (event_id);
CREATE INDEX outbox_message_created ON outbox_message USING brin (created_at) WITH (autosummarize = on);

-- delivery is one message for one endpoint. Lanes are urgent 0, normal 1,
-- replay 2; within a lane messages go in the order of their numbers. A parked
-- one was refused while others passed: it is tried on its own, out of order.
CREATE TABLE delivery (
    endpoint   text NOT NULL REFERENCES endpoint ON DELETE CASCADE,
    sequence   bigint NOT NULL REFERENCES outbox_message ON DELETE CASCADE,
    lane       smallint NOT NULL CHECK (lane BETWEEN 0 AND 2),
    state      text NOT NULL CHECK (state IN ('pending', 'parked', 'delivered', 'dead')),
    attempts   integer NOT NULL DEFAULT 0 CHECK (attempts >= 0), -- since it was queued
    queued_at  timestamptz NOT NULL, -- later than the message when it is replayed
    next_at    timestamptz, -- of a parked one
    settled_at timestamptz,
    last_error text NOT NULL DEFAULT '',
    PRIMARY KEY (endpoint, sequence),
    CHECK ((state IN ('delivered', 'dead')) = (settled_at IS NOT NULL)),
    CHECK ((state = 'parked') = (next_at IS NOT NULL))
) WITH (fillfactor = 70);
CREATE INDEX delivery_pending ON delivery (endpoint, lane, sequence) WHERE state = 'pending';
CREATE INDEX delivery_parked ON delivery (endpoint, next_at) WHERE state = 'parked';
CREATE INDEX delivery_dead ON delivery (endpoint, sequence) WHERE state = 'dead';
CREATE INDEX delivery_waiting ON delivery (endpoint, queued_at) WHERE state IN ('pending', 'parked');
CREATE INDEX delivery_sequence ON delivery (sequence);

-- attempt is the log of everything sent. No foreign keys: it outlives what it
-- speaks of.
CREATE TABLE attempt (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    endpoint     text NOT NULL,
    kind         text NOT NULL CHECK (kind IN ('delivery', 'replay', 'test', 'heartbeat')),
    message_id   text NOT NULL,
    sequence     bigint, -- null for tests and heartbeats
    number       integer NOT NULL CHECK (number > 0),
    started_at   timestamptz NOT NULL,
    milliseconds integer NOT NULL CHECK (milliseconds >= 0),
    status       integer NOT NULL, -- HTTP; 0 when there was no answer
    outcome      text NOT NULL CHECK (outcome IN ('delivered', 'retry', 'refused', 'gone')),
    error        text NOT NULL,
    excerpt      text NOT NULL, -- of the answer's body
    retry_after  integer -- seconds, as obeyed
);
CREATE INDEX attempt_endpoint ON attempt (endpoint, id DESC);
CREATE INDEX attempt_message ON attempt (message_id, id);
CREATE INDEX attempt_started ON attempt USING brin (started_at) WITH (autosummarize = on);

-- idempotency remembers for a day what a request with an Idempotency-Key did, so
-- that a retry does nothing again. There are no secrets in it.
CREATE TABLE idempotency (
    key    text PRIMARY KEY CHECK (key <> ''),
    what   text NOT NULL, -- the request: another one under this key is refused
    at     timestamptz NOT NULL DEFAULT now(),
    answer jsonb NOT NULL
);

-- feed_key lets a receiver read the feed. Only a hash of the key is kept.
CREATE TABLE feed_key (
    name         text PRIMARY KEY CHECK (name ~ '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$'),
    hash         bytea NOT NULL UNIQUE CHECK (octet_length(hash) = 32),
    spec         jsonb NOT NULL CHECK (jsonb_typeof(spec) = 'object'), -- filter, requests a minute
    created_at   timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz,
    last_used_at timestamptz
);

-- audit is the chain of what people did. hash is over the row and the hash
-- before it, see events/audit; the head is signed, so that cutting off the end
-- shows as well.
CREATE TABLE audit (
    number          bigint PRIMARY KEY CHECK (number > 0),
    at              timestamptz NOT NULL,
    actor           text NOT NULL CHECK (actor <> ''),
    action          text NOT NULL CHECK (action <> ''),
    subject         text NOT NULL CHECK (subject <> ''), -- "event:0199…", "endpoint:ioc"
    event_id        uuid,
    detail          jsonb NOT NULL CHECK (jsonb_typeof(detail) = 'object'),
    detail_text     text NOT NULL, -- the very bytes that were hashed
    idempotency_key text UNIQUE,
    previous        bytea NOT NULL CHECK (octet_length(previous) = 32),
    hash            bytea NOT NULL CHECK (octet_length(hash) = 32)
);
CREATE INDEX audit_event ON audit (event_id, number) WHERE event_id IS NOT NULL;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TABLE audit_head (
    one       boolean PRIMARY KEY DEFAULT true CHECK (one),
    number    bigint NOT NULL CHECK (number >= 0),
    hash      bytea NOT NULL CHECK (octet_length(hash) = 32),
    key_id    text NOT NULL,
    signature bytea NOT NULL
);
INSERT INTO audit_head (number, hash, key_id, signature) VALUES (0, decode(repeat('00', 32), 'hex'), '', '');

-- manifest is the chain of sealed evidence packages, one an event.
CREATE TABLE manifest (
    number      bigint PRIMARY KEY CHECK (number > 0),
    event_id    uuid NOT NULL UNIQUE,
    occurred_at timestamptz NOT NULL,
    path        text NOT NULL CHECK (path <> ''),
    sha256      text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    previous    text NOT NULL CHECK (previous ~ '^[0-9a-f]{64}$'), -- sha256 of number - 1; zeros for the first
    key_id      text NOT NULL CHECK (key_id <> ''),
    sealed_at   timestamptz NOT NULL
);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON manifest FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TABLE manifest_head (
    one    boolean PRIMARY KEY DEFAULT true CHECK (one),
    number bigint NOT NULL CHECK (number >= 0),
    sha256 text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$')
);
INSERT INTO manifest_head (number, sha256) VALUES (0, repeat('0', 64));

-- A file that retention, a person or a fault took keeps its row, so that it can
-- be said what was there; deletion is the log.
ALTER TABLE evidence ADD COLUMN retention text NOT NULL DEFAULT 'event' CHECK (retention <> ''),
    ADD COLUMN gone_at timestamptz;
CREATE INDEX evidence_path ON evidence (path);
CREATE INDEX evidence_here ON evidence (event_id, path) WHERE gone_at IS NULL; -- oldest event first
CREATE TABLE deletion (
    id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at       timestamptz NOT NULL DEFAULT clock_timestamp(),
    event_id uuid,
    path     text NOT NULL,
    sha256   text NOT NULL,
    bytes    bigint NOT NULL,
    reason   text NOT NULL CHECK (reason IN ('age', 'quota', 'disk', 'request', 'missing', 'orphan')),
    actor    text NOT NULL CHECK (actor <> '')
);
CREATE INDEX deletion_path ON deletion (path);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON deletion FOR EACH ROW EXECUTE FUNCTION append_only();

-- case_hold keeps the evidence of an event from every deletion.
CREATE TABLE case_hold (
    event_id    uuid NOT NULL,
    case_id     text NOT NULL CHECK (case_id <> ''),
    held_by     text NOT NULL,
    reason      text NOT NULL,
    held_at     timestamptz NOT NULL DEFAULT now(),
    released_at timestamptz,
    released_by text,
    PRIMARY KEY (event_id, case_id),
    CHECK ((released_at IS NULL) = (released_by IS NULL))
);

-- +goose Down
DROP TABLE case_hold, deletion;
ALTER TABLE evidence DROP COLUMN retention, DROP COLUMN gone_at;
DROP INDEX evidence_path;
DROP TABLE manifest_head, manifest, audit_head, audit, feed_key, idempotency, attempt, delivery, outbox_message, endpoint_secret, endpoint;
ALTER TABLE event DROP CONSTRAINT event_workflow_state, DROP CONSTRAINT event_verdict_when_closed,
    DROP CONSTRAINT event_assignee_when_assigned,
    DROP COLUMN acknowledged_at, DROP COLUMN closed_at;
DELETE FROM event_change WHERE step NOT IN ('raised', 'cleared');
DROP INDEX event_change_once, event_change_event, event_workflow, event_assignee;
ALTER TABLE event_change DROP COLUMN workflow, DROP COLUMN step, ADD UNIQUE (event_id, state);
