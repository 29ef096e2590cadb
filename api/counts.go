package api

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// CountReader tells how many objects passed. Its methods return
// events.ErrUnavailable while the store cannot be reached. It must be safe for
// concurrent use.
type CountReader interface {
	// Counts returns at most f.Limit rows by bucket, camera, line, class and
	// direction; buckets in which nothing passed are left out.
	Counts(ctx context.Context, f events.CountFilter) ([]events.CountRow, error)
}

// maxCountRows bounds one answer.
const maxCountRows = 20_000

// maxSpan returns the longest time that one question may be about.
func maxSpan(b events.Bucket) time.Duration {
	const day = 24 * time.Hour
	switch b {
	case events.BucketMinute:
		return 7 * day
	case events.BucketHour:
		return 366 * day
	default:
		return 3660 * day
	}
}

func countParams() []string {
	return []string{"camera", "line", "class", "direction", "from", "to", "bucket"}
}

// listCounts answers what was counted, from local midnight of today until now
// unless the query says otherwise.
func (s *Server) listCounts(c *gin.Context) {
	if s.cfg.Counts == nil {
		s.fail(c, &refusal{Status: http.StatusNotFound, Detail: "this server keeps no counts"})
		return
	}
	f, err := parseCountQuery(c.Request.URL.RawQuery, s.cfg.Now(), s.cfg.Location)
	if err != nil {
		s.fail(c, err)
		return
	}
	ctx, cancel := context.WithTimeout(c.Request.Context(), s.cfg.RequestTimeout)
	defer cancel()
	f.Limit = maxCountRows + 1
	found, err := s.cfg.Counts.Counts(ctx, f)
	if err == nil && len(found) > maxCountRows {
		err = &events.FieldError{Field: "bucket", Reason: fmt.Sprintf("gives more than %d rows; choose a longer one, a shorter time or fewer cameras", maxCountRows)}
	}
	if err != nil {
		s.fail(c, err)
		return
	}
	out := struct {
		Bucket events.Bucket `json:"bucket"`
		From   *string       `json:"from"`
		To     *string       `json:"to"`
		Items  []countJSON   `json:"items"`
	}{f.Bucket, s.timeJSON(f.From), s.timeJSON(f.To), make([]countJSON, len(found))}
	for i, r := range found {
		out.Items[i] = countJSON{s.timeJSON(r.Start), r.Source, r.Line, r.Class, r.Direction, r.N}
	}
	s.writeJSON(c, http.StatusOK, out)
}

// countJSON is the wire form of a row.
type countJSON struct {
	Start     *string `json:"start"`
	Camera    string  `json:"camera"`
	Line      string  `json:"line"`
	Class     string  `json:"class"`
	Direction string  `json:"direction"`
	Count     int64   `json:"count"`
}

// parseCountQuery reads the query part of an address; now and loc say what
// "today" is. Errors are of type *events.FieldError.
func parseCountQuery(raw string, now time.Time, loc *time.Location) (events.CountFilter, error) {
	f := events.CountFilter{Bucket: events.BucketHour, Location: loc}
	if len(raw) > maxQuery {
		return f, &events.FieldError{Field: "query", Reason: fmt.Sprintf("must be at most %d bytes", maxQuery)}
	}
	values, err := url.ParseQuery(raw)
	if err != nil {
		return f, &events.FieldError{Field: "query", Reason: "must be name=value pairs joined by &, with %XX for special characters"}
	}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names) // the same wrong query always names the same field
	for _, name := range names {
		if !slices.Contains(countParams(), name) {
			return f, &events.FieldError{Field: printable(name), Reason: "is not a parameter here; allowed are " + strings.Join(countParams(), ", ")}
		}
		if reason := setCount(&f, name, values[name]); reason != "" {
			return f, &events.FieldError{Field: name, Reason: reason}
		}
	}
	if f.To.IsZero() {
		f.To = now.UTC().Truncate(time.Minute).Add(time.Minute) // this minute too
	}
	if f.From.IsZero() {
		y, m, d := f.To.Add(-time.Nanosecond).In(loc).Date()
		f.From = time.Date(y, m, d, 0, 0, 0, 0, loc).UTC()
	}
	switch span := f.To.Sub(f.From); {
	case span <= 0:
		return f, &events.FieldError{Field: "to", Reason: "must be later than from"}
	case span > maxSpan(f.Bucket):
		return f, &events.FieldError{Field: "from", Reason: fmt.Sprintf("must be at most %g days before to for a bucket of one %s", maxSpan(f.Bucket).Hours()/24, f.Bucket)}
	}
	return f, nil
}

// setCount stores the values of one parameter and returns what is wrong with
// them, or "".
func setCount(f *events.CountFilter, name string, values []string) (reason string) {
	switch name {
	case "camera":
		f.Sources, reason = oneOf[string](values, nil, "the slug of a camera")
	case "line":
		f.Lines, reason = oneOf[string](values, nil, "the name of a line")
	case "class":
		f.Classes, reason = oneOf[string](values, nil, "a class like motorcycle")
	case "direction":
		f.Directions, reason = oneOf(values, []string{"a_to_b", "b_to_a"}, "")
	default:
		if len(values) != 1 {
			return "must be given once"
		}
		switch name {
		case "from":
			f.From, reason = parseTime(values[0])
		case "to":
			f.To, reason = parseTime(values[0])
		case "bucket":
			var list []events.Bucket
			if list, reason = oneOf(values, events.Buckets(), ""); reason == "" {
				f.Bucket = list[0]
			}
		}
	}
	return reason
}
