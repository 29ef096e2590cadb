package main

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/xacam/xacam/api"
	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/format"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/pgstore"
	"github.com/xacam/xacam/events/webhook"
)

// DeliveriesConfig says what is remembered of deliveries. Endpoints themselves
// are in the database, see `xacam apply`.
type DeliveriesConfig struct {
	Days int `yaml:"days"` // that settled deliveries and the log of attempts are kept
}

func (c DeliveriesConfig) validate(bad func(field, format string, args ...any)) {
	if c.Days < 1 || c.Days > maxDays {
		bad("deliveries.days", "%d is not between 1 and %d", c.Days, maxDays)
	}
}

func validatePublicURL(text string, bad func(field, format string, args ...any)) {
	if text == "" {
		return
	}
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		bad("public_url", "must be https://host or https://host/path, without a user")
	}
}

// ownerID returns the name under which this data folder's server takes leases:
// the same after every start.
func ownerID(data string) (string, error) {
	path := filepath.Join(data, "server-id")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		id := make([]byte, 16)
		_, _ = rand.Read(id) // never fails, see crypto/rand
		text = []byte(hex.EncodeToString(id) + "\n")
		err = os.WriteFile(path, text, 0o600)
	}
	id := strings.TrimSpace(string(text))
	if err == nil && !regexp.MustCompile(`^[0-9a-f]{32}$`).MatchString(id) {
		err = errors.New("not 32 hex digits; delete the file, and another one is made")
	}
	if err != nil {
		return "", fmt.Errorf("the server's own name in %s: %w", path, err)
	}
	return id, nil
}

// pruneEvery is how often settled deliveries are looked through.
const pruneEvery = time.Hour

// addDelivery adds what brings events to endpoints. The schema must be there
// before anything of it can work, which the gate of the database sees to.
func (s *server) addDelivery(deliverer outbox.Deliverer) error {
	owner, err := ownerID(s.cfg.Data)
	if err != nil {
		return err
	}
	worker, err := outbox.New(outbox.Config{
		Queue: s.db, Deliverer: deliverer, Owner: owner, Heartbeat: s.heartbeat, Alarm: s.deliveryAlarm, Log: s.log, Reg: s.registry,
	})
	if err != nil {
		return err
	}
	changed, deleted := make(chan struct{}, 1), make(chan struct{}, 1)
	s.app.Add("deliveries", stageDeliver, s.db.whenReady(worker.Run))
	s.app.Add("delivery watch", stageServe, func(ctx context.Context) error {
		return s.db.Watch(ctx, pgstore.DeliveryChanges, worker.Wake)
	})
	s.app.Add("endpoint watch", stageServe, func(ctx context.Context) error {
		return s.db.Watch(ctx, pgstore.EndpointChanges, func() {
			worker.Reload()
			for _, c := range []chan struct{}{changed, deleted} {
				select {
				case c <- struct{}{}:
				default: // one waits already
				}
			}
		})
	})
	s.app.Add("endpoint alarms", stageRecord, func(ctx context.Context) error {
		s.followEndpoints(ctx, changed)
		return nil
	})
	s.app.Add("delivery log", stageServe, s.pruneDeliveries)
	s.app.Add("endpoint removal", stageServe, func(ctx context.Context) error {
		s.sweepEndpoints(ctx, deleted)
		return nil
	})
	return nil
}

// heartbeat implements outbox.Config.Heartbeat. What cannot be told is left at
// zero.
func (s *server) heartbeat(ctx context.Context) outbox.Heartbeat {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	var h outbox.Heartbeat
	if last, err := s.db.LastSequence(ctx); err == nil {
		h.Sequence = last
	}
	if cams, err := s.manager.Cameras(ctx); err == nil {
		h.Cameras = len(cams)
		for i := range cams {
			if cams[i].Health.State != api.CameraOnline {
				h.Offline++
			}
		}
	}
	return h
}

// deliveryAlarm implements outbox.Config.Alarm.
func (s *server) deliveryAlarm(_ context.Context, a outbox.Alarm) {
	var signal *events.Signal
	if a.Failing {
		signal = failingSignal(&a)
	}
	s.alarms.Set(endpointSource(a.Endpoint), signal)
}

func endpointSource(name string) events.Source { return events.Source{ID: name, Name: name} }

// failingSignal says that an endpoint does not take its deliveries.
func failingSignal(a *outbox.Alarm) *events.Signal {
	why := events.Text{
		VI: fmt.Sprintf("Đầu nhận «%s» không nhận sự kiện, đã thử %d lần liên tiếp. Các sự kiện được giữ lại và sẽ gửi khi đầu nhận hoạt động trở lại.", a.Endpoint, a.Failures),
		EN: fmt.Sprintf("The endpoint %s does not take events, %d attempts failed in a row. Events are kept and sent when it is back.", a.Endpoint, a.Failures),
	}
	if a.Gone {
		why = events.Text{
			VI: fmt.Sprintf("Đầu nhận «%s» trả lời rằng không còn tồn tại (410) và đã bị tắt. Kiểm tra với bên nhận rồi bật lại.", a.Endpoint),
			EN: fmt.Sprintf("The endpoint %s says that it is gone (410) and was disabled. Settle it with the receiver and enable it again.", a.Endpoint),
		}
	}
	attributes := map[string]any{"endpoint": a.Endpoint, "failures": a.Failures, "gone": a.Gone}
	if a.Error != "" {
		attributes["error"] = a.Error
	}
	return &events.Signal{
		Key: events.Key{Kind: events.KindDeliveryFailing}, Score: 1, Severity: events.SeverityHigh, Why: why, Attributes: attributes,
	}
}

// disabledSignal says why nothing is sent to an endpoint that is not enabled;
// nil when a person wants it so.
func disabledSignal(e *outbox.Endpoint) *events.Signal {
	a := &outbox.Alarm{Endpoint: e.Name, Failures: e.Health.Failures, Error: e.Health.LastError}
	switch e.Disabled {
	case "", "admin":
		return nil
	case "gone":
		a.Gone = true
		return failingSignal(a)
	}
	a.Error = e.Disabled
	signal := failingSignal(a)
	signal.Why = events.Text{
		VI: fmt.Sprintf("Không thể gửi sự kiện đến đầu nhận «%s»: máy chủ không mở được thiết lập hoặc khóa bí mật của đầu nhận này. Các sự kiện được giữ lại; hãy khôi phục tệp khóa của máy chủ hoặc thiết lập lại đầu nhận.", e.Name),
		EN: fmt.Sprintf("Nothing can be sent to the endpoint %s: the server cannot open its settings or secrets. Events are kept; restore the server's key file, or set the endpoint up again.", e.Name),
	}
	return signal
}

// followEndpoints keeps the alarms to the endpoints that there are: what was
// deleted or disabled by a person fails no more, what is gone still does after a
// restart.
func (s *server) followEndpoints(ctx context.Context, changed <-chan struct{}) {
	known := make(map[string]bool)
	for {
		select {
		case <-ctx.Done():
			return
		case <-changed:
		}
		list, err := s.db.Endpoints(ctx)
		if err != nil {
			continue // Watch calls again soon
		}
		now := make(map[string]bool, len(list))
		for i := range list {
			e := &list[i]
			now[e.Name] = true
			if !e.Enabled {
				s.alarms.Set(endpointSource(e.Name), disabledSignal(e))
			}
		}
		for name := range known {
			if !now[name] {
				s.alarms.Forget(name)
			}
		}
		known = now
	}
}

// sweepEndpoints removes what deleted endpoints left, whenever one may have been
// deleted; the watch calls at start and every few seconds too, so what a crash
// or an outage interrupted goes on.
func (s *server) sweepEndpoints(ctx context.Context, deleted <-chan struct{}) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-deleted:
		}
		n, err := s.db.SweepEndpoints(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil && !errors.Is(err, events.ErrUnavailable):
			s.log.WarnContext(ctx, "what a deleted endpoint left could not be removed", "err", err)
		case n > 0:
			s.log.InfoContext(ctx, "removed what a deleted endpoint left", "rows", n)
		}
	}
}

// pruneDeliveries forgets what was settled long ago.
func (s *server) pruneDeliveries(ctx context.Context) error {
	for {
		p, err := s.db.PruneDeliveries(ctx, time.Now().AddDate(0, 0, -s.cfg.Deliveries.Days))
		switch {
		case ctx.Err() != nil:
			return nil //nolint:nilerr // asked to end
		case err != nil && !errors.Is(err, events.ErrUnavailable):
			s.log.WarnContext(ctx, "old deliveries could not be deleted", "err", err)
		case p.Messages+p.Attempts > 0:
			s.log.InfoContext(ctx, "deleted old deliveries", "messages", p.Messages, "attempts", p.Attempts)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pruneEvery):
		}
	}
}

// mediaLinks makes links to evidence under the server's public address.
func (s *server) mediaLinks() (api.MediaLinks, error) {
	key, err := s.keys.Derive("media links")
	return api.MediaLinks{Base: s.cfg.PublicURL, Key: key}, err
}

// publicLink returns what makes the address of a file for receivers: one that
// expires, and none for a file that is gone.
func publicLink(links *api.MediaLinks) func(*events.Event, events.EvidenceRef) string {
	return func(_ *events.Event, ref events.EvidenceRef) string {
		if !ref.Gone.IsZero() {
			return ""
		}
		return links.URL(ref.Path)
	}
}

// newDeliverer returns what posts to endpoints. The caller closes it.
func (s *server) newDeliverer(links *api.MediaLinks) *webhook.Deliverer {
	cfg := format.Config{
		Source: "urn:xacam:commune:" + s.cfg.Commune.Code, SenderName: s.cfg.Commune.Name, Location: s.cfg.location,
	}
	if links.Base != "" {
		cfg.Source, cfg.SchemaURL, cfg.Evidence = links.Base, strings.TrimSuffix(links.Base, "/")+"/api/v1/schemas", publicLink(links)
	}
	return webhook.New(webhook.Config{Format: cfg, UserAgent: "xacam/" + version})
}
