package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"mime"
	"net/http"
	"slices"
	"strings"

	"github.com/xacam/xacam/events"
)

// readBody returns the body of a request, which must be application/json: a
// page of another site cannot send that type without being asked first.
func readBody(r *http.Request) ([]byte, error) {
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/json" {
		return nil, &refusal{Status: http.StatusUnsupportedMediaType, Detail: "the body must be application/json"}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		if _, large := errors.AsType[*http.MaxBytesError](err); large {
			return nil, &refusal{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("the body may have %d bytes", maxBody)}
		}
		return nil, &refusal{Status: http.StatusBadRequest, Detail: "the body did not arrive"}
	}
	return body, nil
}

// decodeBody reads a JSON object into fields, pointers by name; null is like a
// field that is not there. Every field that is unknown or of another type is
// told, as joined *events.FieldError.
func decodeBody(r *http.Request, fields map[string]any) error {
	body, err := readBody(r)
	if err != nil {
		return err
	}
	var given map[string]json.RawMessage
	dec := json.NewDecoder(bytes.NewReader(body))
	err = dec.Decode(&given)
	if _, more := dec.Token(); err != nil || given == nil || !errors.Is(more, io.EOF) {
		return &refusal{Status: http.StatusBadRequest, Detail: "the body is not a JSON object"}
	}
	allowed := slices.Sorted(maps.Keys(fields))
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(given)) {
		to, ok := fields[name]
		if !ok {
			errs = append(errs, &events.FieldError{Field: printable(name), Reason: "is not a field here; allowed are " + strings.Join(allowed, ", ")})
			continue
		}
		dec := json.NewDecoder(bytes.NewReader(given[name]))
		dec.DisallowUnknownFields()
		if err := dec.Decode(to); err != nil {
			errs = append(errs, &events.FieldError{Field: name, Reason: wrongType(err)})
		}
	}
	return errors.Join(errs...)
}

// wrongType says what is wrong with a value.
func wrongType(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		where := ""
		if wrong.Field != "" {
			where = printable(wrong.Field) + " "
		}
		return where + "must not be a " + strings.SplitN(wrong.Value, " ", 2)[0]
	}
	if name, ok := strings.CutPrefix(err.Error(), `json: unknown field "`); ok {
		return "has no field " + printable(strings.TrimSuffix(name, `"`))
	}
	return "cannot be read"
}
