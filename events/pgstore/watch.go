package pgstore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
)

// Topic is what Watch waits for.
type Topic int

// Topics.
const (
	EventChanges    Topic = iota // a change was committed
	CameraChanges                // a camera or a rule was stored or deleted
	DeliveryChanges              // deliveries were queued
	EndpointChanges              // an endpoint or a secret was stored, deleted or disabled
)

func (t Topic) channel() string {
	switch t {
	case CameraChanges:
		return cameraChannel
	case DeliveryChanges:
		return deliveryChannel
	case EndpointChanges:
		return endpointChannel
	default:
		return eventChannel
	}
}

// Watch calls wake soon after every change of the topic, once at the start and
// at least once in Config.Poll, also while the database is away. Several
// changes may cause one call. It uses a connection of its own, connects again
// when that breaks, and returns nil when ctx ends. wake is called from this
// goroutine and must not block: a notification wakes, polling guarantees.
func (s *Store) Watch(ctx context.Context, topic Topic, wake func()) error {
	quiet := false // the reason was logged already
	for {
		err := s.listen(ctx, topic, wake, func() { quiet = false })
		if ctx.Err() != nil {
			return nil //nolint:nilerr // asked to end
		}
		if !quiet {
			s.cfg.Log.WarnContext(ctx, "database notifications are away, polling", "channel", topic.channel(), "error", err)
			quiet = true
		}
		wake()
		select {
		case <-time.After(s.cfg.Poll):
		case <-ctx.Done():
			return nil
		}
	}
}

// listen waits on one connection until that breaks.
func (s *Store) listen(ctx context.Context, topic Topic, wake, up func()) error {
	conn, err := pgx.ConnectConfig(ctx, s.pool.Config().ConnConfig)
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(closing) // the server notices in any case
	}()
	asking, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	_, err = conn.Exec(asking, "LISTEN "+topic.channel())
	cancel()
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	up()
	for {
		wake() // first: what was committed before LISTEN
		waiting, cancel := context.WithTimeout(ctx, s.cfg.Poll)
		_, err := conn.WaitForNotification(waiting)
		cancel()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, context.DeadlineExceeded):
			// Nothing for a while: is anybody there?
			if err := s.probe(ctx, conn); err != nil {
				return err
			}
		default:
			return fmt.Errorf("wait for notifications: %w", err)
		}
	}
}

func (s *Store) probe(ctx context.Context, conn *pgx.Conn) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.ConnectTimeout)
	defer cancel()
	if err := conn.Ping(ctx); err != nil {
		return fmt.Errorf("probe the notification connection: %w", err)
	}
	return nil
}
