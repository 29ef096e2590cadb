//go:build cgo

package main

import (
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events/eventstest"
	"github.com/xacam/xacam/events/pgcluster"
)

// TestStartWithoutDatabase: a server that starts while the database is away
// watches the cameras it knew, keeps their events, and stores them when the
// database is back.
func TestStartWithoutDatabase(t *testing.T) {
	t.Parallel()
	_, address := simulated(t)
	dir := filepath.Join(eventstest.OpenTempDir(t), "pg")
	cluster, stopDatabase := eventstest.Cluster(t, pgcluster.Config{Dir: dir})
	db := testDatabase{data: t.TempDir()}
	db.config = writeFile(t, "xacam.yaml", fmt.Sprintf("listen: 127.0.0.1:0\ndata: %s\ndatabase: {dsn: %q}\n", db.data, cluster.DSN()))
	people := newScripted("at-a")
	s := serve(t, db, people)
	<-s.db.Ready()
	apply(t, db, testCamera("a", address("a"), "at-a", "high"))
	s.online(t, "a")
	s.stop()
	stopDatabase()

	s = serve(t, db, people, func(s *server) { s.manager.grace = time.Second })
	people.enter("at-a")
	within(t, 15*time.Second, "the event is kept on disk", func() bool { return s.spool.Status().Disk > 0 })
	assert.Equal(t, "down", readiness(t, s.base), "the list of events cannot be read")
	assert.Equal(t, "online", s.cameras(t)["a"].State)

	eventstest.Cluster(t, pgcluster.Config{Dir: dir})
	<-s.db.Ready()
	within(t, 15*time.Second, "the event is stored", func() bool { return s.spool.Depth() == 0 })
	all := s.events(t, "")
	require.Len(t, all, 1)
	checkSnapshot(t, s, all[0].ID, all[0].Evidence[0].SHA256)
	people.leave("at-a")
	within(t, 10*time.Second, "it is cleared", func() bool { return len(s.events(t, "state=cleared")) == 1 })
	require.Len(t, s.events(t, ""), 1)
}
