-- +goose Up

-- traffic_count is how many objects passed a line in one minute, as one run of
-- one rule's analysis counted. A run tells a minute again with a larger total; a
-- restart within the minute is another run, whose counts add up. One table for
-- all time: rows are narrow and come to rest within minutes, the primary key
-- finds a line's days in order, and brin finds old rows to be deleted.
CREATE TABLE traffic_count (
    camera    text NOT NULL CHECK (camera <> ''),
    line      text NOT NULL CHECK (line <> ''),
    minute    timestamptz NOT NULL CONSTRAINT traffic_count_whole_minute CHECK (extract(epoch FROM minute) % 60 = 0),
    class     text NOT NULL CHECK (class <> ''),
    direction text NOT NULL CHECK (direction IN ('a_to_b', 'b_to_a')),
    rule      text NOT NULL CHECK (rule <> ''),
    run       text NOT NULL CHECK (run <> ''),
    n         integer NOT NULL CHECK (n > 0),
    PRIMARY KEY (camera, line, minute, class, direction, rule, run)
) WITH (fillfactor = 80); -- a minute's total is updated in place
CREATE INDEX traffic_count_minute ON traffic_count USING brin (minute) WITH (pages_per_range = 32, autosummarize = on);

-- +goose Down
DROP TABLE traffic_count;
