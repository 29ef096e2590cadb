package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// retryMS is how long a browser waits before it opens a lost stream again.
const retryMS = 3000

// endTimeout is how long a stream may take to be told of the shutdown.
const endTimeout = 200 * time.Millisecond

// frame returns ev as one message of a stream without its name, which
// messageName gives; nil when it has no JSON form.
func (s *Server) frame(ev *events.Event) []byte {
	b := append(make([]byte, 0, 1024), "id: "...)
	b = strconv.AppendInt(b, ev.Sequence, 10)
	b = append(b, "\ndata: "...)
	b, err := s.encodeEvent(b, ev) // one line
	if err != nil {
		s.metrics.unencodable.Inc()
		s.cfg.Log.Error("event left out of streams", "event", ev.ID, "err", err)
		return nil
	}
	return append(b, "\n\n"...)
}

// messageName returns the line that names a message: the same for all, as
// clients know it from the beginning, or the step for those that ask for it.
func messageName(ev *events.Event, named bool) []byte {
	if named && ev.Step != "" {
		return []byte("event: " + string(ev.Step) + "\n")
	}
	return []byte("event: change\n")
}

// streamEvents sends changes as server-sent events (WHATWG HTML, 9.2) from a
// position of the change log on, each once and in order, until the client
// goes, does not keep up, or the server ends.
func (s *Server) streamEvents(c *gin.Context) {
	q, err := parseEventQuery(c.Request.URL.RawQuery, streamParams(), s.cfg.Kinds)
	if err != nil {
		s.fail(c, err)
		return
	}
	if err := s.tail.join(); err != nil {
		s.metrics.streamEnds.WithLabelValues(endRefused).Inc()
		s.fail(c, err)
		return
	}
	defer s.tail.leave()
	position, err := s.startPosition(c, q.After)
	if err != nil {
		s.metrics.streamEnds.WithLabelValues(endRefused).Inc()
		s.fail(c, err)
		return
	}
	out, err := newStreamWriter(c, s.cfg.StreamWrite)
	if err != nil {
		s.fail(c, err)
		return
	}
	err = s.follow(c.Request.Context(), out, &q, position)
	if errors.Is(err, errStopped) {
		// The end of the answer must not wait for a client that reads nothing.
		_ = out.rc.SetWriteDeadline(time.Now().Add(endTimeout))
	}
	s.metrics.streamEnds.WithLabelValues(endReason(err)).Inc()
}

// startPosition returns the sequence after which a stream begins: that of the
// Last-Event-ID header, which a browser sends when it comes back, else after,
// else the newest. It asks the store in any case, so that a client learns at
// once when there is none.
func (s *Server) startPosition(c *gin.Context, after int64) (int64, error) {
	field := "after"
	if v := c.GetHeader("Last-Event-ID"); v != "" {
		var reason string
		field = "Last-Event-ID"
		if after, reason = parseSequence(v); reason != "" {
			return 0, &events.FieldError{Field: field, Reason: reason}
		}
	}
	last, err := s.tail.last(c.Request.Context())
	if err != nil {
		return 0, err
	}
	if after < 0 {
		return last, nil
	}
	if after > last {
		return 0, &events.FieldError{
			Field:  field,
			Reason: fmt.Sprintf("is past the newest sequence %d, so it is from another store; load the events again and start without it", last),
		}
	}
	return after, nil
}

// errStopped ends a stream because the server ends.
var errStopped = errors.New("server stopped")

// follow writes every change after position that q selects.
func (s *Server) follow(ctx context.Context, out *streamWriter, q *eventQuery, position int64) error {
	f := &q.Filter
	// The position at once, so that a client that loses its very first
	// connection comes back to the right place.
	if err := out.write(fmt.Appendf(nil, "retry: %d\nid: %d\n\n", retryMS, position)); err != nil {
		return err
	}
	told := position // the last id the client has
	quiet := time.NewTimer(s.cfg.Heartbeat)
	defer quiet.Stop()
	for {
		v, more := s.next(ctx, f, position)
		if err := ctx.Err(); err != nil {
			return err
		}
		var sent int
		for _, e := range v.entries {
			position = e.sequence()
			if len(e.frame) > 0 && matches(f, e.event) {
				if err := out.append(messageName(e.event, q.Named), e.frame); err != nil {
					return err
				}
				told = position
				sent++
			}
		}
		if !v.known && !more && v.floor > position {
			position, more = v.floor, true // the store has nothing up to there: go on in memory
		}
		if sent > 0 {
			if err := out.flush(); err != nil {
				return err
			}
			s.metrics.streamSent.Add(float64(sent))
			quiet.Reset(s.cfg.Heartbeat)
		}
		if err := s.pause(ctx, v, more, quiet.C); errors.Is(err, errQuiet) {
			err = out.write(heartbeat(told, position))
			told = position
			quiet.Reset(s.cfg.Heartbeat)
			if err != nil {
				return err
			}
		} else if err != nil {
			return err
		}
	}
}

// next returns what follows position, from memory or from the store. more says
// that there is more already.
func (s *Server) next(ctx context.Context, f *events.Filter, position int64) (v view, more bool) {
	v = s.tail.after(position)
	if v.known {
		if len(v.entries) > storeBatch { // look at the shutdown and the clock in between
			v.entries, more = v.entries[:storeBatch], true
		}
		return v, more
	}
	batch, more, err := s.tail.read(ctx, position, f)
	if err != nil {
		// The stream stays open and tries again: a browser that is refused
		// does not come back by itself. tail.run logs the outage.
		s.metrics.tailErrors.Inc()
		v.floor = -1
		return v, false
	}
	v.entries = batch
	return v, more
}

// errQuiet says that nothing happened for the time of a heartbeat.
var errQuiet = errors.New("quiet")

// pause waits for something to do; with more there is something already.
func (s *Server) pause(ctx context.Context, v view, more bool, quiet <-chan time.Time) error {
	if more {
		select {
		case <-s.tail.stopped:
			return errStopped
		case <-quiet:
			return errQuiet
		default:
			return nil
		}
	}
	var again <-chan time.Time // the memory does not help here, look at the store again
	if !v.known {
		timer := time.NewTimer(s.cfg.Poll)
		defer timer.Stop()
		again = timer.C
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-s.tail.stopped:
		return errStopped
	case <-quiet:
		return errQuiet
	case <-v.news:
	case <-again:
	}
	return nil
}

// heartbeat is a comment that keeps proxies from closing a quiet stream. When
// changes were passed over by the filter, it moves the client's position
// without an event, so that coming back does not search them again.
func heartbeat(told, position int64) []byte {
	if told == position {
		return []byte(": alive\n\n")
	}
	return fmt.Appendf(nil, ": alive\nid: %d\n\n", position)
}

// endReason says why a stream ended.
func endReason(err error) string {
	switch {
	case errors.Is(err, errStopped):
		return endShutdown
	case errors.Is(err, errSlow):
		return endSlow
	default:
		return endClient
	}
}

// errSlow says that a client did not take its data in time.
var errSlow = errors.New("client too slow")

// streamWriter writes to one stream with a deadline. It goes past the router's
// writer, which swallows the errors of a flush.
type streamWriter struct {
	w       http.ResponseWriter
	rc      *http.ResponseController
	timeout time.Duration
	armed   bool // the deadline is set for what is being written
}

// newStreamWriter sends the header of a stream.
func newStreamWriter(c *gin.Context, timeout time.Duration) (*streamWriter, error) {
	h := c.Writer.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would collect the events
	var w http.ResponseWriter = c.Writer
	if u, ok := w.(interface{ Unwrap() http.ResponseWriter }); ok {
		w = u.Unwrap()
	}
	out := &streamWriter{w: w, rc: http.NewResponseController(w), timeout: timeout}
	// The server's read timeout would end the stream.
	if err := out.rc.SetReadDeadline(time.Time{}); err != nil {
		return nil, fmt.Errorf("prepare the stream: %w", err)
	}
	if err := out.arm(); err != nil {
		return nil, err
	}
	c.Status(http.StatusOK)
	c.Writer.WriteHeaderNow()
	return out, nil
}

// arm starts the time for what is written until the next flush.
func (w *streamWriter) arm() error {
	if w.armed {
		return nil
	}
	if err := w.rc.SetWriteDeadline(time.Now().Add(w.timeout)); err != nil {
		return fmt.Errorf("set the write deadline: %w", err)
	}
	w.armed = true
	return nil
}

func (w *streamWriter) append(parts ...[]byte) error {
	if err := w.arm(); err != nil {
		return err
	}
	for _, b := range parts {
		if _, err := w.w.Write(b); err != nil {
			return slow(err)
		}
	}
	return nil
}

func (w *streamWriter) flush() error {
	w.armed = false
	if err := w.rc.Flush(); err != nil {
		return slow(err)
	}
	return nil
}

func (w *streamWriter) write(b []byte) error {
	if err := w.append(b); err != nil {
		return err
	}
	return w.flush()
}

// slow tells a missed deadline from a lost connection.
func slow(err error) error {
	if t, ok := errors.AsType[interface {
		error
		Timeout() bool
	}](err); ok && t.Timeout() {
		return fmt.Errorf("%w: %w", errSlow, err)
	}
	return fmt.Errorf("write to the stream: %w", err)
}
