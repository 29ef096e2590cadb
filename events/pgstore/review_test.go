package pgstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/outbox/outboxtest"
)

// TestFilterOfAnEndpointMadeAnew: an endpoint that is deleted and made anew
// begins at version 1 again, with its own filter.
func TestFilterOfAnEndpointMadeAnew(t *testing.T) {
	t.Parallel()
	s, _ := openSealed(t)
	ctx, by := t.Context(), outbox.Act{By: "Lan"}
	e := outboxtest.Endpoint("ioc")
	e.Filter = outbox.Filter{Severity: events.SeverityCritical}
	_, err := s.CreateEndpoint(ctx, e, by)
	require.NoError(t, err)
	require.NoError(t, s.Commit(ctx, changes(raised("cam", 1))))
	n, err := s.Backlog(ctx, "ioc")
	require.NoError(t, err)
	require.Zero(t, n)
	require.NoError(t, s.DeleteEndpoint(ctx, "ioc", by))
	_, err = s.CreateEndpoint(ctx, outboxtest.Endpoint("ioc"), by)
	require.NoError(t, err)
	require.NoError(t, s.Commit(ctx, changes(raised("cam", 2))))
	n, err = s.Backlog(ctx, "ioc")
	require.NoError(t, err)
	assert.Equal(t, int64(1), n)
}

// TestExpireSparesReplays: what a person asked for does not grow old.
func TestExpireSparesReplays(t *testing.T) {
	t.Parallel()
	s, dsn := openSealed(t)
	ctx, by := t.Context(), outbox.Act{By: "Lan"}
	_, err := s.CreateEndpoint(ctx, outboxtest.Endpoint("ioc"), by)
	require.NoError(t, err)
	require.NoError(t, s.Commit(ctx, changes(raised("cam", 1), raised("cam", 2))))
	require.NoError(t, exec(t, dsn, "UPDATE delivery SET queued_at = now() - interval '8 days'"))
	require.NoError(t, exec(t, dsn, "UPDATE delivery SET lane = 2 WHERE sequence = 2"))
	epoch, err := s.Lease(ctx, "ioc", "me", time.Minute)
	require.NoError(t, err)
	n, err := s.Expire(ctx, "ioc", epoch, time.Now().AddDate(0, 0, -7))
	require.NoError(t, err)
	assert.Equal(t, int64(1), n)
}
