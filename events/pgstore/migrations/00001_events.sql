-- +goose Up

-- event is the latest state of each event. Partitioned by month of occurred_at
-- (names event_y2026m11, UTC); event_default takes what no month fits, such as
-- the events of a camera whose clock stands at 1970 or 2090.
CREATE TABLE event (
    id             uuid NOT NULL, -- UUIDv7, its time is occurred_at in ms
    occurred_at    timestamptz NOT NULL,
    cleared_at     timestamptz,
    received_at    timestamptz NOT NULL, -- of the first commit
    sequence       bigint NOT NULL CHECK (sequence > 0), -- of the latest change
    kind           text NOT NULL CHECK (kind <> ''),
    state          text NOT NULL CHECK (state IN ('raised', 'cleared')),
    severity       text NOT NULL CHECK (severity IN ('info', 'low', 'medium', 'high', 'critical')),
    source_type    text NOT NULL CHECK (source_type <> ''),
    source_id      text NOT NULL CHECK (source_id <> ''),
    source_name    text NOT NULL,
    hamlet         text NOT NULL,
    commune        text NOT NULL,
    lat            double precision CHECK (lat BETWEEN -90 AND 90),
    lon            double precision CHECK (lon BETWEEN -180 AND 180),
    zone           text NOT NULL,
    rule_name      text NOT NULL,
    rule_version   integer NOT NULL CHECK (rule_version >= 0),
    object         text NOT NULL,
    subject        jsonb CHECK (jsonb_typeof(subject) = 'object' AND (subject ->> 'score')::float8 BETWEEN 0 AND 1),
    why_vi         text NOT NULL,
    why_en         text NOT NULL,
    attributes     jsonb NOT NULL CHECK (jsonb_typeof(attributes) = 'object'),
    workflow_state text NOT NULL DEFAULT 'new' CHECK (workflow_state <> ''),
    assignee       text,
    verdict        text CHECK (verdict IN ('confirmed', 'false_alarm', 'other')),
    PRIMARY KEY (id, occurred_at),
    CHECK ((state = 'cleared') = (cleared_at IS NOT NULL)),
    CHECK (cleared_at >= occurred_at),
    CHECK ((lat IS NULL) = (lon IS NULL))
) PARTITION BY RANGE (occurred_at);
CREATE TABLE event_default PARTITION OF event DEFAULT;
CREATE INDEX event_time ON event (occurred_at DESC, id DESC);
CREATE INDEX event_source ON event (source_id, occurred_at DESC, id DESC);
CREATE INDEX event_kind ON event (kind, occurred_at DESC, id DESC);
CREATE INDEX event_zone ON event (zone, occurred_at DESC, id DESC) WHERE zone <> '';
CREATE INDEX event_severity ON event (severity, occurred_at DESC, id DESC);
CREATE INDEX event_open ON event (source_id, occurred_at) WHERE state = 'raised';
CREATE INDEX event_sequence_idx ON event (sequence);

-- event_sequence is the one counter behind event_change.sequence. A committer
-- holds its row until the end of the transaction, so numbers become visible in
-- their own order and a rollback leaves no gap.
CREATE TABLE event_sequence (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    last bigint NOT NULL CHECK (last >= 0)
);
INSERT INTO event_sequence (last) VALUES (0);

-- event_change is the log of steps. No foreign key to event: both rows are
-- written by one transaction, and rows of event move between partitions, which
-- a foreign key would take for a deletion.
CREATE TABLE event_change (
    sequence     bigint PRIMARY KEY CHECK (sequence > 0),
    event_id     uuid NOT NULL,
    occurred_at  timestamptz NOT NULL,
    state        text NOT NULL CHECK (state IN ('raised', 'cleared')),
    committed_at timestamptz NOT NULL,
    UNIQUE (event_id, state) -- committing a change again is a no-op
);

-- evidence lists the files of an event; the same file is listed once.
CREATE TABLE evidence (
    event_id uuid NOT NULL,
    ordinal  integer NOT NULL CHECK (ordinal >= 0),
    type     text NOT NULL CHECK (type <> ''),
    path     text NOT NULL CHECK (path <> '' AND path !~ '(^/|(^|/)\.\.(/|$)|\\)'),
    sha256   text NOT NULL CHECK (sha256 ~ '^[0-9a-f]{64}$'),
    bytes    bigint NOT NULL CHECK (bytes >= 0),
    PRIMARY KEY (event_id, path)
);

CREATE TABLE camera (
    slug       text PRIMARY KEY CHECK (slug <> ''),
    spec       jsonb NOT NULL CHECK (jsonb_typeof(spec) = 'object'),
    version    integer NOT NULL CHECK (version > 0),
    enabled    boolean NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);

-- rule keeps every version of every rule: events name the version that fired.
-- No foreign key to camera: the history outlives it, and a camera of the same
-- name goes on counting.
CREATE TABLE rule (
    camera     text NOT NULL CHECK (camera <> ''),
    name       text NOT NULL CHECK (name <> ''),
    version    integer NOT NULL CHECK (version > 0),
    spec       jsonb NOT NULL CHECK (jsonb_typeof(spec) = 'object'),
    valid_from timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (camera, name, version)
);

-- +goose StatementBegin
CREATE FUNCTION append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'table % is append-only', TG_TABLE_NAME USING ERRCODE = 'integrity_constraint_violation';
END
$$;
-- +goose StatementEnd
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON rule FOR EACH ROW EXECUTE FUNCTION append_only();
CREATE TRIGGER append_only BEFORE UPDATE ON event_change FOR EACH ROW EXECUTE FUNCTION append_only();

-- +goose Down
DROP TABLE rule, camera, evidence, event_change, event_sequence, event;
DROP FUNCTION append_only();
