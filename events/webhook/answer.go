package webhook

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/xacam/xacam/events/outbox"
)

// Limits on answers.
const (
	maxAnswer      = 64 << 10 // read at most; what is longer costs the connection
	maxExcerpt     = 1 << 10
	maxHeaderBytes = 32 << 10
	maxRetryAfter  = 24 * time.Hour
	maxBodyTime    = 2 * time.Second // for the body: the status has said all
)

// outcome says what an HTTP status means for a message.
func outcome(status int) outbox.Outcome {
	switch {
	case status >= 200 && status <= 299:
		return outbox.Delivered
	case status == http.StatusGone:
		return outbox.Gone
	case status == http.StatusBadRequest, status == http.StatusRequestEntityTooLarge,
		status == http.StatusUnsupportedMediaType, status == http.StatusUnprocessableEntity:
		return outbox.Refused
	}
	return outbox.Retry
}

// statusError is what the log shows of an answer other than 2xx.
func statusError(status int) error {
	if status >= 300 && status <= 399 {
		return fmt.Errorf("answered %d %s; redirects are not followed, set the address it leads to", status, http.StatusText(status))
	}
	return fmt.Errorf("answered %d %s", status, http.StatusText(status))
}

// retryAfter reads RFC 9110, 10.2.3: seconds or a date. What is in the past or
// cannot be read is 0, what is far away is a day.
func retryAfter(v string, now time.Time) time.Duration {
	v = strings.TrimSpace(v)
	if v == "" {
		return 0
	}
	if strings.Trim(v, "0123456789") == "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n > int64(maxRetryAfter/time.Second) {
			return maxRetryAfter
		}
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(v)
	if err != nil {
		return 0
	}
	return min(max(0, at.Sub(now)), maxRetryAfter)
}

// excerpt returns the beginning of an answer as text of at most 1 KiB, without
// anything secret that the receiver may have repeated.
func excerpt(body []byte, encoding string, secrets []string) string {
	if len(body) == 0 {
		return ""
	}
	if encoding != "" && !strings.EqualFold(encoding, "identity") {
		return fmt.Sprintf("(%d bytes, compressed)", len(body))
	}
	for _, s := range secrets {
		if len(s) >= 4 {
			body = bytes.ReplaceAll(body, []byte(s), []byte("***"))
		}
	}
	var b strings.Builder
	for _, r := range string(body[:min(len(body), 4*maxExcerpt)]) {
		if !unicode.IsPrint(r) && r != '\n' {
			r = ' '
		}
		if b.Len()+utf8.RuneLen(r) > maxExcerpt {
			break
		}
		b.WriteRune(r)
	}
	return strings.TrimSpace(b.String())
}

// readAnswer reads what is kept of a body. Whatever goes wrong, the status has
// been given already.
func readAnswer(body io.Reader, stop func()) []byte {
	t := time.AfterFunc(maxBodyTime, stop)
	defer t.Stop()
	b, _ := io.ReadAll(io.LimitReader(body, maxAnswer+1))
	return b[:min(len(b), maxAnswer)]
}

// plain takes the address, which may hold a secret, out of an error.
func plain(err error, timeout time.Duration) error {
	if u := (*url.Error)(nil); errors.As(err, &u) {
		err = u.Err
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("no answer within %s", timeout)
	}
	return err
}
