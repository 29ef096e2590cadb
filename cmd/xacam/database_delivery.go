package main

import (
	"context"
	"time"

	"github.com/xacam/xacam/api"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/pgstore"
)

var (
	_ outbox.Queue      = (*database)(nil)
	_ api.EndpointStore = (*database)(nil)
	_ api.DeliveryStore = (*database)(nil)
)

// gated asks the store once the gate is open.
func gated[T any](d *database, ask func(s *pgstore.Store) (T, error)) (T, error) {
	if err := d.gate(); err != nil {
		var zero T
		return zero, err
	}
	return ask(d.store)
}

// gatedErr is gated for what returns nothing.
func gatedErr(d *database, do func(s *pgstore.Store) error) error {
	if err := d.gate(); err != nil {
		return err
	}
	return do(d.store)
}

// Endpoints implements outbox.Queue and api.EndpointStore.
func (d *database) Endpoints(ctx context.Context) ([]outbox.Endpoint, error) {
	return gated(d, func(s *pgstore.Store) ([]outbox.Endpoint, error) { return s.Endpoints(ctx) })
}

// Lease implements outbox.Queue.
func (d *database) Lease(ctx context.Context, endpoint, owner string, ttl time.Duration) (int64, error) {
	return gated(d, func(s *pgstore.Store) (int64, error) { return s.Lease(ctx, endpoint, owner, ttl) })
}

// Pending implements outbox.Queue.
func (d *database) Pending(ctx context.Context, endpoint string, lane outbox.Lane, after int64, limit int) ([]outbox.Delivery, error) {
	return gated(d, func(s *pgstore.Store) ([]outbox.Delivery, error) { return s.Pending(ctx, endpoint, lane, after, limit) })
}

// Parked implements outbox.Queue.
func (d *database) Parked(ctx context.Context, endpoint string, now time.Time, limit int) ([]outbox.Delivery, error) {
	return gated(d, func(s *pgstore.Store) ([]outbox.Delivery, error) { return s.Parked(ctx, endpoint, now, limit) })
}

// Backlog implements outbox.Queue.
func (d *database) Backlog(ctx context.Context, endpoint string) (int64, error) {
	return gated(d, func(s *pgstore.Store) (int64, error) { return s.Backlog(ctx, endpoint) })
}

// Expire implements outbox.Queue.
func (d *database) Expire(ctx context.Context, endpoint string, epoch int64, before time.Time) (int64, error) {
	return gated(d, func(s *pgstore.Store) (int64, error) { return s.Expire(ctx, endpoint, epoch, before) })
}

// Settle implements outbox.Queue.
func (d *database) Settle(ctx context.Context, t outbox.Settlement) error {
	return gatedErr(d, func(s *pgstore.Store) error { return s.Settle(ctx, t) })
}

// PruneDeliveries forgets what was settled before a moment.
func (d *database) PruneDeliveries(ctx context.Context, before time.Time) (pgstore.Pruned, error) {
	return gated(d, func(s *pgstore.Store) (pgstore.Pruned, error) { return s.PruneDeliveries(ctx, before) })
}

// SweepEndpoints removes what deleted endpoints left.
func (d *database) SweepEndpoints(ctx context.Context) (int64, error) {
	return gated(d, func(s *pgstore.Store) (int64, error) { return s.SweepEndpoints(ctx) })
}

// Endpoint implements api.EndpointStore.
func (d *database) Endpoint(ctx context.Context, name string) (outbox.Endpoint, error) {
	return gated(d, func(s *pgstore.Store) (outbox.Endpoint, error) { return s.Endpoint(ctx, name) })
}

// CreateEndpoint implements api.EndpointStore.
func (d *database) CreateEndpoint(ctx context.Context, e outbox.Endpoint, act outbox.Act) (outbox.Stored, error) {
	return gated(d, func(s *pgstore.Store) (outbox.Stored, error) { return s.CreateEndpoint(ctx, e, act) })
}

// UpdateEndpoint implements api.EndpointStore.
func (d *database) UpdateEndpoint(ctx context.Context, e outbox.Endpoint, act outbox.Act) (outbox.Stored, error) {
	return gated(d, func(s *pgstore.Store) (outbox.Stored, error) { return s.UpdateEndpoint(ctx, e, act) })
}

// DeleteEndpoint implements api.EndpointStore.
func (d *database) DeleteEndpoint(ctx context.Context, name string, act outbox.Act) error {
	return gatedErr(d, func(s *pgstore.Store) error { return s.DeleteEndpoint(ctx, name, act) })
}

// EnableEndpoint implements api.EndpointStore.
func (d *database) EnableEndpoint(ctx context.Context, name string, act outbox.Act) (outbox.Stored, error) {
	return gated(d, func(s *pgstore.Store) (outbox.Stored, error) { return s.EnableEndpoint(ctx, name, act) })
}

// RotateSecret implements api.EndpointStore.
func (d *database) RotateSecret(
	ctx context.Context, name, scheme string, given *outbox.Secret, overlap time.Duration, act outbox.Act,
) (outbox.Stored, error) {
	return gated(d, func(s *pgstore.Store) (outbox.Stored, error) {
		return s.RotateSecret(ctx, name, scheme, given, overlap, act)
	})
}

// DeleteSecret implements api.EndpointStore.
func (d *database) DeleteSecret(ctx context.Context, name, id string, act outbox.Act) error {
	return gatedErr(d, func(s *pgstore.Store) error { return s.DeleteSecret(ctx, name, id, act) })
}

// Deliveries implements api.DeliveryStore.
func (d *database) Deliveries(ctx context.Context, endpoint string, f outbox.DeliveryFilter) ([]outbox.DeliveryInfo, error) {
	return gated(d, func(s *pgstore.Store) ([]outbox.DeliveryInfo, error) { return s.Deliveries(ctx, endpoint, f) })
}

// EventDeliveries implements api.DeliveryStore.
func (d *database) EventDeliveries(ctx context.Context, id string) ([]outbox.DeliveryInfo, error) {
	return gated(d, func(s *pgstore.Store) ([]outbox.DeliveryInfo, error) { return s.EventDeliveries(ctx, id) })
}

// DeliveryCounts implements api.DeliveryStore.
func (d *database) DeliveryCounts(ctx context.Context, endpoint string) (map[outbox.DeliveryState]int64, error) {
	return gated(d, func(s *pgstore.Store) (map[outbox.DeliveryState]int64, error) { return s.DeliveryCounts(ctx, endpoint) })
}

// Attempts implements api.DeliveryStore.
func (d *database) Attempts(ctx context.Context, f outbox.AttemptFilter) ([]outbox.Attempt, error) {
	return gated(d, func(s *pgstore.Store) ([]outbox.Attempt, error) { return s.Attempts(ctx, f) })
}

// BeginTest implements api.DeliveryStore.
func (d *database) BeginTest(ctx context.Context, endpoint string, act outbox.Act) (outbox.Test, error) {
	return gated(d, func(s *pgstore.Store) (outbox.Test, error) { return s.BeginTest(ctx, endpoint, act) })
}

// LogAttempt implements api.DeliveryStore.
func (d *database) LogAttempt(ctx context.Context, a outbox.Attempt, t outbox.Test) (outbox.Attempt, error) {
	return gated(d, func(s *pgstore.Store) (outbox.Attempt, error) { return s.LogAttempt(ctx, a, t) })
}

// Replay implements api.DeliveryStore.
func (d *database) Replay(ctx context.Context, endpoint string, r outbox.Replay, act outbox.Act) (outbox.ReplayResult, error) {
	return gated(d, func(s *pgstore.Store) (outbox.ReplayResult, error) { return s.Replay(ctx, endpoint, r, act) })
}
