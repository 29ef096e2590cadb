package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
)

// readJSON reads the body of a request strictly into v, a pointer to a struct.
func readJSON(r *http.Request, v any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err = dec.Decode(v)
	if err == nil {
		if _, more := dec.Token(); !errors.Is(more, io.EOF) {
			err = errors.New("there is something behind it")
		}
	}
	if err == nil {
		return nil
	}
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return &events.FieldError{Field: wrong.Field, Reason: "must not be a " + strings.SplitN(wrong.Value, " ", 2)[0]}
	}
	if name, ok := strings.CutPrefix(err.Error(), `json: unknown field "`); ok {
		return &events.FieldError{Field: printable(strings.TrimSuffix(name, `"`)), Reason: "is not a field here; " + pathOpenAPI + " lists them"}
	}
	if _, ok := errors.AsType[*time.ParseError](err); ok {
		return &events.FieldError{Field: "from", Reason: "from and to must be RFC 3339 times like 2026-11-23T22:14:05+07:00"}
	}
	return &refusal{Status: http.StatusBadRequest, Detail: "the body is not a JSON object"}
}

// checkBy says what is wrong with the name of who acts.
func checkBy(by string) error {
	if !isName(by) || strings.TrimSpace(by) != by {
		return &events.FieldError{Field: "by", Reason: fmt.Sprintf("must say who does this, 1 to %d printable characters", maxNameRunes)}
	}
	return nil
}

// maxKeyRunes bounds the name of a request.
const maxKeyRunes = 200

// idempotencyKey returns the request's own name, "" for none.
func idempotencyKey(c *gin.Context) (string, error) {
	key := c.GetHeader("Idempotency-Key")
	if key == "" || isLine(key, maxKeyRunes) {
		return key, nil
	}
	return "", &events.FieldError{Field: "Idempotency-Key", Reason: fmt.Sprintf("must be 1 to %d printable characters", maxKeyRunes)}
}

// checkOrigin refuses changes that a page of another site sends: browsers say
// where a request comes from, other clients do not.
func (s *Server) checkOrigin(c *gin.Context) {
	if m := c.Request.Method; m == http.MethodGet || m == http.MethodHead || m == http.MethodOptions {
		c.Next()
		return
	}
	origin := c.GetHeader("Origin")
	u, err := url.Parse(origin)
	foreign := origin != "" && (err != nil || !strings.EqualFold(u.Host, c.Request.Host))
	if site := c.GetHeader("Sec-Fetch-Site"); foreign || site == "cross-site" || site == "same-site" {
		s.fail(c, &refusal{Status: http.StatusForbidden, Detail: "a page of another site may not change anything here"})
		return
	}
	c.Next()
}
