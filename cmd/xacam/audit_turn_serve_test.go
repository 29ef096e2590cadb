//go:build cgo

package main

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// TestServerSignsTheAuditChain: the process ended right after the turn, and the server
// is started.
func TestServerSignsTheAuditChain(t *testing.T) {
	t.Parallel()
	b := newTurned(t)
	b.crash(t)
	require.Equal(t, exitFailed, b.verify(t).code)
	s := serve(t, b.testDatabase, nil)
	select {
	case <-s.db.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("the database is not ready")
	}
	s.stop()
	r := b.verify(t)
	assert.Equal(t, exitOK, r.code, r.stderr)
	assert.Contains(t, r.stdout, "3 entries are sound")
}
