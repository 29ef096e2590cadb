package api

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/gin-gonic/gin"

	"github.com/xacam/xacam/events"
	"github.com/xacam/xacam/events/outbox"
)

// defaultOverlap is how long an old secret signs beside its successor.
const defaultOverlap = 24 * time.Hour

// rotateSecret makes a new secret and answers it, once.
func (s *Server) rotateSecret(c *gin.Context) {
	var in struct {
		By      string  `json:"by"`
		Scheme  string  `json:"scheme"`
		Secret  string  `json:"secret"`
		Overlap *string `json:"overlap"`
	}
	s.change(c, &in, &in.By, s.cfg.RequestTimeout, func(ctx context.Context, act outbox.Act, wrong error) (_ any, err error) {
		errs := []error{wrong}
		overlap, scheme := defaultOverlap, in.Scheme
		if in.Overlap != nil {
			if overlap, err = time.ParseDuration(*in.Overlap); err != nil {
				errs = append(errs, &events.FieldError{Field: "overlap", Reason: "is not a duration; give for example 24h"})
			}
		}
		var given *outbox.Secret
		if in.Secret != "" {
			k, err := outbox.ParseSecret(in.Secret, s.cfg.Now())
			if given = &k; err != nil {
				errs = append(errs, &events.FieldError{Field: "secret", Reason: err.Error()})
			} else if scheme != "" && scheme != k.Scheme {
				errs = append(errs, &events.FieldError{Field: "scheme", Reason: fmt.Sprintf("is %s by the secret", k.Scheme)})
			}
			scheme = k.Scheme
		}
		if scheme == "" {
			scheme = outbox.SchemeHMAC
		}
		if err := errors.Join(errs...); err != nil {
			return nil, err
		}
		return s.cfg.Endpoints.RotateSecret(ctx, c.Param("name"), scheme, given, overlap, act)
	})
}
