package api

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
	"github.com/xacam/xacam/events/wire"
)

// FeedStore is what the feed needs from the store. Its methods return
// events.ErrNotFound for an unknown key, *events.FieldError for an argument that
// cannot be used, *events.ConflictError for a name that is taken and
// events.ErrUnavailable. It must be safe for concurrent use.
type FeedStore interface {
	// Feed returns the changes after a number that a key may see, see
	// outbox.FeedPage.
	Feed(ctx context.Context, key outbox.FeedKey, after int64, limit int) (outbox.FeedPage, error)
	// UseFeedKey returns the key with a hash, unless it has expired.
	UseFeedKey(ctx context.Context, hash [sha256.Size]byte) (outbox.FeedKey, error)
	FeedKeys(ctx context.Context) ([]outbox.FeedKey, error)
	// CreateFeedKey stores a key; repeated says that the same request did so before.
	CreateFeedKey(ctx context.Context, k outbox.FeedKey, act outbox.Act) (made outbox.FeedKey, repeated bool, err error)
	RevokeFeedKey(ctx context.Context, name string, act outbox.Act) error
}

// Limits of the feed.
const (
	maxFeedLimit     = 500
	defaultFeedLimit = 100
	maxFeedWait      = 30 * time.Second
)

func feedParams() []string { return []string{"after", "limit", "wait"} }

// feedQuery is the parsed query of the feed.
type feedQuery struct {
	after int64
	limit int
	wait  time.Duration
}

// getFeed answers the changes after a number, in order, and accounts for every
// number that it passes over. With wait it answers when there is something.
func (s *Server) getFeed(c *gin.Context) {
	key, ok := s.feedKey(c)
	if !ok {
		return
	}
	q, err := parseFeedQuery(c.Request.URL.RawQuery)
	if err != nil {
		s.fail(c, err)
		return
	}
	select {
	case s.feeds <- struct{}{}:
		defer func() { <-s.feeds }()
	default:
		s.fail(c, &refusal{Status: http.StatusServiceUnavailable, Detail: fmt.Sprintf("all %d readers of the feed are waiting; try again later", cap(s.feeds))})
		return
	}
	// The server's read timeout would end the wait; where there is only the
	// handler, there is none.
	_ = http.NewResponseController(c.Writer).SetReadDeadline(time.Time{})
	page, err := s.waitFeed(c.Request.Context(), key, q)
	if err != nil {
		s.fail(c, err)
		return
	}
	body, err := s.encodeFeed(&page, q.after)
	if err != nil {
		s.fail(c, err)
		return
	}
	write(c, http.StatusOK, "application/json", body)
}

func parseFeedQuery(raw string) (feedQuery, error) {
	q := feedQuery{limit: defaultFeedLimit}
	err := eachParam(raw, feedParams(), func(name, v string) (reason string) {
		switch name {
		case "after":
			q.after, reason = parseSequence(v)
		case "limit":
			n, err := strconv.Atoi(v)
			if err != nil || n < 1 || n > maxFeedLimit {
				return fmt.Sprintf("must be a whole number from 1 to %d", maxFeedLimit)
			}
			q.limit = n
		case "wait":
			n, err := strconv.Atoi(v)
			if err != nil || n < 0 || n > int(maxFeedWait.Seconds()) {
				return fmt.Sprintf("must be a whole number of seconds from 0 to %.0f", maxFeedWait.Seconds())
			}
			q.wait = time.Duration(n) * time.Second
		}
		return reason
	})
	return q, err
}

// waitFeed reads a page, and again while there is nothing new and time is left.
func (s *Server) waitFeed(ctx context.Context, key outbox.FeedKey, q feedQuery) (outbox.FeedPage, error) {
	end := time.NewTimer(q.wait)
	defer end.Stop()
	var sum outbox.FeedPage
	sum.Next = q.after
	for {
		rung := s.bell.wait() // before the look, so that no ring is missed
		asking, cancel := context.WithTimeout(ctx, s.cfg.RequestTimeout)
		page, err := s.cfg.Feed.Feed(asking, key, sum.Next, q.limit)
		cancel()
		if err != nil {
			return sum, err
		}
		page.Filtered += sum.Filtered
		page.Deleted += sum.Deleted
		sum = page
		if len(sum.Items) > 0 || q.wait == 0 {
			return sum, nil
		}
		if sum.Next < sum.Last {
			continue // only changes that the key does not see; there are more
		}
		again := time.NewTimer(s.cfg.Poll)
		select {
		case <-rung:
		case <-again.C:
		case <-end.C:
			again.Stop()
			return sum, nil
		case <-s.tail.stopped:
			again.Stop()
			return sum, nil
		case <-ctx.Done():
			again.Stop()
			return sum, ctx.Err()
		}
		again.Stop()
	}
}

// encodeFeed returns the JSON of a page.
func (s *Server) encodeFeed(p *outbox.FeedPage, after int64) ([]byte, error) {
	link := s.cfg.EvidenceURL
	if link == nil {
		link = evidenceURL
	}
	body := append(make([]byte, 0, (len(p.Items)+1)*1024), `{"items":[`...)
	for i := range p.Items {
		e := &p.Items[i]
		if i > 0 {
			body = append(body, ',')
		}
		body = fmt.Appendf(body, `{"sequence":%d,"step":%q,"id":%q,"event":`, e.Sequence, e.Step, outbox.MessageID(e.ID, e.Step, e.Sequence))
		w := wire.FromEvent(e, wire.Options{Location: s.cfg.Location, EvidenceURL: link})
		var err error
		if body, err = w.AppendJSON(body); err != nil {
			return nil, err
		}
		body = append(body, '}')
	}
	return fmt.Appendf(body, `],"after":%d,"next":%d,"last":%d,"first":%d,"skipped":{"filtered":%d,"deleted":%d}}`+"\n",
		after, p.Next, p.Last, p.First, p.Filtered, p.Deleted), nil
}

// feedKey returns the key of a request that is allowed now. After false it has
// been answered.
func (s *Server) feedKey(c *gin.Context) (outbox.FeedKey, bool) {
	if s.cfg.Feed == nil {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this server has no feed"})
		return outbox.FeedKey{}, false
	}
	unknown := func() {
		c.Header("WWW-Authenticate", `Bearer realm="feed"`)
		s.fail(c, &refusal{Status: http.StatusUnauthorized, Detail: "the feed needs a key that is valid: Authorization: Bearer xfk_…; xacam feed-key create makes one"})
	}
	scheme, secret, _ := strings.Cut(c.GetHeader("Authorization"), " ")
	hash, ok := outbox.HashFeedSecret(secret)
	if !ok || !strings.EqualFold(scheme, "Bearer") {
		unknown()
		return outbox.FeedKey{}, false
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.RequestTimeout)
	defer cancel()
	key, err := s.cfg.Feed.UseFeedKey(ctx, hash)
	switch {
	case errors.Is(err, events.ErrNotFound):
		unknown()
		return key, false
	case err != nil:
		s.fail(c, err)
		return key, false
	}
	if wait := s.limiter.take(key.Name, key.PerMinute, s.cfg.Now()); wait > 0 {
		c.Header("Retry-After", strconv.Itoa(int(math.Ceil(wait.Seconds()))))
		s.fail(c, &refusal{Status: http.StatusTooManyRequests, Detail: fmt.Sprintf("this key may ask %d times a minute", key.PerMinute)})
		return key, false
	}
	return key, true
}

// bell wakes everybody who waits. The zero value is ready.
type bell struct {
	mu sync.Mutex
	ch chan struct{}
}

// wait returns a channel that the next ring closes.
func (b *bell) wait() <-chan struct{} {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch == nil {
		b.ch = make(chan struct{})
	}
	return b.ch
}

func (b *bell) ring() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ch != nil {
		close(b.ch)
		b.ch = nil
	}
}

// limiter is a token bucket for each name. The zero value is ready.
type limiter struct {
	mu      sync.Mutex
	buckets map[string]bucket
}

type bucket struct {
	tokens float64
	at     time.Time
}

// maxBuckets is how many are kept before full ones, which say nothing, go.
const maxBuckets = 1000

// take takes one token of a bucket that holds those of ten seconds, or returns
// how long to wait for one.
func (l *limiter) take(name string, perMinute int, now time.Time) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	rate := float64(perMinute) / 60
	size := max(1, 10*rate)
	b, ok := l.buckets[name]
	if !ok {
		b = bucket{size, now}
	}
	b.tokens = min(size, b.tokens+rate*max(0, now.Sub(b.at).Seconds()))
	b.at = now
	var wait time.Duration
	if b.tokens < 1 {
		wait = time.Duration((1 - b.tokens) / rate * float64(time.Second))
	} else {
		b.tokens--
	}
	if l.buckets == nil || len(l.buckets) >= maxBuckets {
		l.buckets = make(map[string]bucket) // keys are few; those revoked go
	}
	l.buckets[name] = b
	return wait
}
